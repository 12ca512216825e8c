"""A file's content: put in place atomically, and shown as a diff."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from collections.abc import Generator
from pathlib import Path
from typing import Any

from labctl import vault
from labctl.errors import NodeError, TaskFailed
from labctl.files.attributes import Attributes, new_mode, properties
from labctl.files.digests import digests
from labctl.node.api import Node, Stat
from labctl.records import dataclass
from labctl.task_types import Change, Context

SHOWN = 128 << 10  # bytes of a file that a diff shows
_SEALED = "(decrypted from Ansible Vault)\n"
IN_MEMORY = 8 << 20  # a larger local file is streamed


@dataclass(frozen=True, slots=True)
class Content:
    """What a file shall hold: bytes, or a local file of any size. `checksum` is its sha1. `sealed`: it came out
    of a vault, so no diff shows it."""

    data: bytes | Path
    checksum: str
    size: int
    sealed: bool = False
    known_md5: str | None = None

    @classmethod
    def of(cls, data: bytes | Path, *, decrypt: bool = False, md5: bool = False) -> Content:
        """`decrypt`: a file that is encrypted with Ansible Vault holds its clear text. `md5`: it will be asked for,
        and a large file need not be read again for that. VaultError."""
        if decrypt and isinstance(data, Path) and (clear := vault.opened(data)) is not None:
            return dataclasses.replace(cls.of(clear), sealed=True)
        if isinstance(data, bytes):
            return cls(data, hashlib.sha1(data, usedforsecurity=False).hexdigest(), len(data))
        size = data.stat().st_size
        if size <= IN_MEMORY:
            return cls.of(data.read_bytes())
        if md5:
            try:
                sha1, known = digests(data, "sha1", "md5")
            except ValueError:
                pass
            else:
                return cls(data, sha1, size, known_md5=known)
        return cls(data, digests(data, "sha1")[0], size)

    def md5(self) -> str | None:
        """None where the controller's policy has no md5."""
        if self.known_md5 is not None:
            return self.known_md5
        try:
            if isinstance(self.data, bytes):
                return hashlib.md5(self.data, usedforsecurity=False).hexdigest()
            return digests(self.data, "md5")[0]
        except ValueError:
            return None

    def head(self) -> bytes:
        if isinstance(self.data, bytes):
            return self.data[: SHOWN + 1]
        with self.data.open("rb") as stream:
            return stream.read(SHOWN + 1)


def shown(data: bytes | None) -> str | None:
    """Content for a diff: its text, or what it is when it is none."""
    if data is None:
        return None
    if len(data) > SHOWN:
        return f"(more than {SHOWN} bytes)\n"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"(binary, sha256 {hashlib.sha256(data).hexdigest()})\n"
    return f"(binary, sha256 {hashlib.sha256(data).hexdigest()})\n" if "\0" in text else text


def before(ctx: Context, stat: Stat | None) -> str | None:
    """The content a file has now, for --diff only."""
    if not ctx.diff or stat is None or stat.type != "file":
        return None if stat is None or not ctx.diff else f"({stat.type})\n"
    try:
        return shown(ctx.node.read(stat.path, limit=SHOWN))
    except NodeError as error:
        return f"({stat.size} bytes)\n" if error.errno_name == "EFBIG" else f"({error.message})\n"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a file is replaced: with a `backup`, only when missing (not `force`), once a command accepted it
    (`validate`). A text in `secret` stands in the diff for a content that must not be shown."""

    backup: bool = False
    force: bool = True
    validate: str | None = None
    secret: str | None = None


PLAIN = Manner()


def place(
    ctx: Context,
    path: str,
    content: Content,
    wanted: Attributes,
    *,
    stat: Stat | None,
    manner: Manner = PLAIN,
) -> Generator[Change, Any, dict[str, Any]]:
    """Give the file at `path` this content and these attributes; `stat` is what is there (with checksum); a
    link there is replaced by a file. Returns what Ansible's copy does: dest, checksum, mode …, of a file
    that was written md5sum too, of one that was not `path`."""
    values: dict[str, Any] = {"dest": path, "checksum": content.checksum}
    if stat is not None and stat.type == "directory":
        raise TaskFailed(f"{path} is a directory on {ctx.host}")
    differs = stat is None or (manner.force and stat.checksum != content.checksum)
    if differs:
        old, new = before(ctx, stat) or "", shown(content.head())
        if manner.secret is not None:
            old, new = "", manner.secret
        elif content.sealed:
            old, new = "", _SEALED
        kept = yield Change(
            f"content of {path}" if stat else f"new file {path}",
            lambda: _put(ctx, path, content, wanted, stat, manner),
            before=old if ctx.diff else None,
            after=new if ctx.diff else None,
        )
        values["md5sum"] = content.md5()
        if kept:
            values["backup_file"] = kept
    elif stat is not None:
        values["checksum"], values["path"] = stat.checksum, path
        yield from wanted.changes(ctx.node, stat)
    if differs and not ctx.check:
        yield from wanted.further(ctx.node, path)
    if differs or (stat is not None and wanted.wrong(stat)):
        stat = _afterwards(ctx, path, content, wanted, stat)
    return {**values, **properties(stat)}


def _put(  # noqa: PLR0917
    ctx: Context, path: str, content: Content, wanted: Attributes, stat: Stat | None, manner: Manner
) -> str | None:
    node = ctx.node
    regular = stat if stat is not None and stat.type == "file" else None
    mode = wanted.bits(regular.mode) if regular else new_mode(node, wanted)
    if manner.validate:
        _validate(ctx, path, content, manner.validate)
    kept = None
    if stat is not None and stat.type == "link":
        kept = _keep(node, path) if manner.backup and node.stat(path, follow=True) else None
        node.remove(path)
    if content.size <= IN_MEMORY:
        data = content.data if isinstance(content.data, bytes) else content.data.read_bytes()
        written = node.write(
            path,
            data,
            mode=mode,
            owner=wanted.owner,
            group=wanted.group,
            backup=manner.backup and regular is not None,
        )
        return written or kept
    assert isinstance(content.data, Path)
    kept = _keep(node, path) if manner.backup and regular else kept
    node.put(content.data, path, mode=mode)
    if wanted.owner is not None or wanted.group is not None:
        node.chown(path, owner=wanted.owner, group=wanted.group)
    return kept


def _keep(node: Node, path: str) -> str:
    kept = f"{path}.{node.call('files_copy', 'stamp')}~"
    node.call("files_copy", "copy", source=path, destination=kept, mode="0600")
    return kept


def _validate(ctx: Context, path: str, content: Content, command: str) -> None:
    """Run the command on a copy beside the file; TaskFailed when it says no."""
    if "%s" not in command:
        raise TaskFailed(f"validate must contain %s: {command}", hint="visudo -cf %s")
    folder, _, name = path.rpartition("/")
    trial = f"{folder}/.labctl-validate-{content.checksum[:12]}-{name[-200:]}"
    try:
        if isinstance(content.data, bytes):
            ctx.node.write(trial, content.data, mode=0o600)
        else:
            ctx.node.put(content.data, trial, mode=0o600)
        argv = [word.replace("%s", trial) for word in shlex.split(command)]
        done = ctx.node.run(argv)
    finally:
        ctx.node.remove(trial)
    if done.rc:
        raise TaskFailed(
            "failed to validate",
            exit_status=done.rc,
            checksum=content.checksum,
            stdout=done.text(),
            stderr=done.error_text(),
        )


def _afterwards(
    ctx: Context, path: str, content: Content, wanted: Attributes, stat: Stat | None
) -> Stat | None:
    """What is there after the change; in a dry run, what would be."""
    if not ctx.check:
        return ctx.node.stat(path, follow=True)
    if stat is None:
        return None
    bits = wanted.bits(stat.mode)
    return dataclasses.replace(
        stat,
        size=content.size,
        mode=stat.mode if bits is None else bits,
        owner=wanted.owner or stat.owner,
        group=wanted.group or stat.group,
    )
