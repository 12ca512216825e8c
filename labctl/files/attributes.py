"""Mode, owner and group of a file: expected, actual, and the change between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from labctl.errors import TaskFailed
from labctl.node.api import Node, Stat
from labctl.node.functions import files
from labctl.records import dataclass
from labctl.task_types import Change

STATES = {"link": "link", "directory": "directory"}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a file's attributes shall be; None: as they are. `mode` is octal or symbolic text, `flags` as
    chattr(1) takes them, `context` the wanted parts of an SELinux context (user, role, type, level)."""

    mode: str | None = None
    owner: str | None = None
    group: str | None = None
    flags: str | None = None
    context: tuple[str | None, ...] | None = None

    @classmethod
    def of(
        cls,
        mode: int | str | None,
        owner: str | None = None,
        group: str | None = None,
        *,
        flags: str | None = None,
        context: tuple[str | None, ...] | None = None,
    ) -> Attributes:
        """From a task's arguments. TaskFailed for something that is not a mode."""
        return cls(None if mode is None else mode_text(mode), owner, group, flags, context)

    @property
    def symbolic(self) -> bool:
        return self.mode is not None and not self.mode.isdigit()

    def bits(self, current: int, *, directory: bool = False, umask: int = 0o022) -> int | None:
        """The wanted mode of a file that has the mode `current`."""
        if self.mode is None:
            return None
        return files.resolve_mode(self.mode, current, directory, umask)

    def wrong(self, stat: Stat) -> dict[str, tuple[Any, Any]]:
        """What differs: {"mode" | "owner" | "group": (actual, expected)}."""
        found: dict[str, tuple[Any, Any]] = {}
        for name, number in (("owner", stat.uid), ("group", stat.gid)):
            wanted, actual = getattr(self, name), getattr(stat, name)
            if wanted is not None and wanted not in (actual, str(number)):
                found[name] = (actual, wanted)
        bits = self.bits(stat.mode, directory=stat.type == "directory")
        if bits is not None and bits != stat.mode and stat.type != "link":
            found["mode"] = (octal(stat.mode), octal(bits))
        return found

    def changes(self, node: Node, stat: Stat, *, follow: bool = True) -> Iterator[Change]:
        """The changes that give an existing file these attributes."""
        yield from self._basic(node, stat, follow=follow)
        yield from self.further(node, stat.path)

    def further(self, node: Node, path: str) -> Iterator[Change]:
        """The changes of what chown and chmod do not know: flags and the SELinux context."""
        if self.flags is None and self.context is None:
            return
        found = node.call(
            "files_flags", "look", path=path, flags=self.flags, context=self.context is not None
        )
        if found["flags"]:
            now, after = found["flags"]
            yield Change(
                f"attributes of {path}",
                lambda: node.call("files_flags", "apply", path=path, flags=after),
                before=f"attributes: {now}\n",
                after=f"attributes: {after}\n",
            )
        if found["selinux"] and self.context:
            options = [
                word
                for flag, part in zip("urtl", self.context, strict=True)
                if part
                for word in (f"-{flag}", part)
            ]
            now = node.run(["stat", "-c", "%C", path]).text().strip().split(":", 3)
            if any(part not in (None, old) for part, old in zip(self.context, now, strict=False)):
                yield Change(
                    f"SELinux context of {path}", lambda: _chcon(node, [*options, path]), before=":".join(now)
                )

    def _basic(self, node: Node, stat: Stat, *, follow: bool) -> Iterator[Change]:
        wrong = self.wrong(stat)
        if not wrong:
            return
        path = stat.path
        if "owner" in wrong or "group" in wrong:
            owner, group = (wrong[name][1] if name in wrong else None for name in ("owner", "group"))
            yield Change(
                f"{' and '.join(n for n in ('owner', 'group') if n in wrong)} of {path}",
                lambda: node.chown(path, owner=owner, group=group, follow=follow),
                before=self._lines(wrong, 0, ("owner", "group")),
                after=self._lines(wrong, 1, ("owner", "group")),
            )
        if "mode" in wrong or ("owner" in wrong and stat.mode & 0o6000):  # chown takes set-id bits away
            bits = self.bits(stat.mode, directory=stat.type == "directory")
            wanted = stat.mode if bits is None else bits
            yield Change(
                f"mode of {path}",
                lambda: node.chmod(path, wanted, follow=follow),
                before=f"mode: {octal(stat.mode)}\n",
                after=f"mode: {octal(wanted)}\n",
            )

    @staticmethod
    def _lines(wrong: dict[str, tuple[Any, Any]], side: int, names: tuple[str, ...]) -> str:
        return "".join(f"{name}: {wrong[name][side]}\n" for name in names if name in wrong)


def mode_text(mode: int | str) -> str:
    """A `mode` argument as text. An integer is a number (YAML reads 0644 as octal); one that was plainly
    meant as digits (644) is refused."""
    if isinstance(mode, int):
        looks_meant = re.fullmatch(r"[0-7]{3}", str(mode)) and (mode > 0o777 or not mode & 0o400)
        if looks_meant or not 0 <= mode <= 0o7777:
            raise TaskFailed(f"mode {mode} is the octal mode {mode:04o}", hint=f"write '0{mode}', in quotes")
        return f"{mode:04o}"
    text = mode.strip()
    try:
        files.resolve_mode(text, 0)
    except ValueError as error:
        raise TaskFailed(str(error), hint="like '0644' or 'u=rw,g=r,o='") from None
    return f"{int(text.replace('o', ''), 8):04o}" if text.replace("o", "").isdigit() else text


def _chcon(node: Node, arguments: list[str]) -> None:
    done = node.run(["chcon", *arguments])
    if done.rc:
        raise TaskFailed(f"chcon: {done.error_text().strip()}", rc=done.rc)


def octal(mode: int) -> str:
    """As Ansible writes it: '0644', and '04755' with a set-id bit."""
    return f"0{mode:03o}"


def properties(stat: Stat | None) -> dict[str, Any]:
    """The values a task returns of a file: mode, owner, group, uid, gid, size, state."""
    if stat is None:
        return {"state": "absent"}
    state = "hard" if stat.type == "file" and stat.links > 1 else STATES.get(stat.type, "file")
    return {
        "mode": octal(stat.mode),
        "owner": stat.owner,
        "group": stat.group,
        "uid": stat.uid,
        "gid": stat.gid,
        "size": stat.size,
        "state": state,
    }


def stat_of(values: dict[str, Any] | None) -> Stat | None:
    """The `Stat` that a node function described."""
    return None if values is None else Stat(**values)


def new_mode(node: Node, wanted: Attributes, umask: Callable[[], int] | None = None) -> int | None:
    """The mode for a file that is not there yet; None: what the node's umask leaves."""
    if wanted.mode is None:
        return None
    if not wanted.symbolic:
        return int(wanted.mode, 8)
    mask = umask() if umask else int(node.call("files", "umask"))
    return wanted.bits(0o666 & ~mask, umask=mask)
