"""`FakeNode`: a node in memory, for unit tests of whatever speaks to nodes.

Its file system knows modes, owners, links and errors by errno; commands, calls and programs answer as a test
scripted them, and one that nobody scripted is an AssertionError. `log` holds every call, `round_trips` their
number.

    node = FakeNode("web1")
    node.add_file("/etc/motd", b"hello", mode=0o600)
    node.on(["systemctl", "is-active", "ssh"], stdout=b"active")
    node.on_call("packages", "installed", lambda names: {"vim": "9.0"})
"""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl.node.api import Completed, Output, Stat
from labctl.node.fake_files import Entry, FakeFiles, problem
from labctl.records import dataclass


@dataclass
class Call:
    """One call that was made: the primitive's name and its arguments by name."""

    op: str
    arguments: dict[str, Any]


@dataclass
class _Script:
    matches: Callable[[tuple[str, ...]], bool]
    answer: Callable[[tuple[str, ...], bytes], Completed]


class FakeStream:
    """What `FakeNode.start` returns: the scripted lines have been delivered already."""

    def __init__(self, completed: Completed) -> None:
        self._completed = completed
        self.running = True

    def stop(self, timeout: float = 5.0) -> Completed:  # noqa: ARG002
        self.running = False
        return self._completed

    def wait(self, timeout: float | None = None) -> Completed:  # noqa: ARG002
        return self.stop()


class FakeNode(FakeFiles):
    """See the module. `umask` is 0o022, the user is root unless `uid` says otherwise."""

    def __init__(self, host: str = "fake", *, uid: int = 0) -> None:
        super().__init__()
        self._host = host
        self.uid = uid
        self.log: list[Call] = []
        self.offset = 0.0
        self.closed = False
        self._scripts: list[_Script] = []
        self._calls: dict[tuple[str, str], Callable[..., Any]] = {}
        self._programs: dict[str, Sequence[str]] = {}
        self._failures: list[tuple[str, str | None, str]] = []

    @property
    def host(self) -> str:
        return self._host

    @property
    def round_trips(self) -> int:
        return len(self.log)

    # ------------------------------------------------------------ what a test says

    def on(
        self,
        command: Sequence[str] | Callable[[tuple[str, ...]], bool],
        *,
        rc: int = 0,
        stdout: bytes = b"",
        stderr: bytes = b"",
        timed_out: bool = False,
        effect: Callable[[], Any] | None = None,
    ) -> None:
        """Answer a command, named by its whole argv or by a predicate. Later scripts win over earlier ones;
        `effect` runs each time."""

        def answer(argv: tuple[str, ...], stdin: bytes) -> Completed:  # noqa: ARG001
            if effect:
                effect()
            now = time.time()
            return Completed(argv, rc, stdout, stderr, now, now, timed_out=timed_out)

        matches = command if callable(command) else (lambda argv, wanted=tuple(command): argv == wanted)
        self._scripts.insert(0, _Script(matches, answer))

    def on_call(self, module: str, function: str, handler: Callable[..., Any]) -> None:
        self._calls[module, function] = handler

    def on_start(self, name: str, lines: Sequence[str]) -> None:
        """The lines a program named `name` prints."""
        self._programs[name] = lines

    def fail(self, op: str, errno_name: str, path: str | None = None) -> None:
        """Let every later `op` (on `path`, when given) raise NodeError with this errno."""
        self._failures.append((op, path, errno_name))

    def ops(self) -> list[str]:
        """The names of the calls made so far, in order."""
        return [call.op for call in self.log]

    # ------------------------------------------------------------ the node

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        output: Output | None = None,
        creates: str | None = None,
        removes: str | None = None,
    ) -> Completed:
        given = tuple(argv)
        self._note("run", argv=given, stdin=stdin, env=env, cwd=cwd, timeout=timeout)
        now = time.time()
        if creates and fnmatch.filter(self.entries, creates):
            return Completed(given, 0, b"", b"", now, now, skipped=f"{creates} exists")
        if removes and not fnmatch.filter(self.entries, removes):
            return Completed(given, 0, b"", b"", now, now, skipped=f"{removes} does not exist")
        script = next((one for one in self._scripts if one.matches(given)), None)
        if script is None:
            raise AssertionError(f"FakeNode {self._host}: nobody scripted {given!r}")
        completed = script.answer(given, stdin)
        if output and completed.stdout:
            output("stdout", completed.text())
        if output and completed.stderr:
            output("stderr", completed.error_text())
        return completed

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        self._note("read", path=path, limit=limit)
        entry = self.existing(path)
        if entry.type == "directory":
            raise problem("EISDIR", path)
        if limit is not None and len(entry.data) > limit:
            raise problem("EFBIG", path)
        return entry.data

    def write(
        self,
        path: str,
        data: bytes,
        *,
        mode: int | None = None,
        owner: str | None = None,
        group: str | None = None,
        backup: bool = False,
    ) -> str | None:
        self._note("write", path=path, data=data, mode=mode, owner=owner, group=group, backup=backup)
        real = self.resolve(path)
        old = self.entries.get(real)
        if old and old.type == "directory":
            raise problem("EISDIR", path)
        self.parent_of(real)
        new = Entry("file", 0o644, self.uid, self.uid, data)
        if old:
            new.mode, new.uid, new.gid = old.mode, old.uid, old.gid
        if mode is not None:
            new.mode = mode
        new.uid = new.uid if owner is None else self.uid_of(owner)
        new.gid = new.gid if group is None else self.gid_of(group)
        kept = None
        if old and backup:
            kept = f"{real}.1.2026-01-01@00:00:00~"
            self.entries[kept] = old
        self.entries[real] = new
        return kept

    def put(self, source: Path, path: str, *, mode: int | None = None) -> None:
        self.write(path, source.read_bytes(), mode=mode)

    def get(self, path: str, destination: Path) -> None:
        destination.write_bytes(self.read(path))

    def stat(self, path: str, *, follow: bool = False, checksum: bool = False) -> Stat | None:
        self._note("stat", path=path, follow=follow, checksum=checksum)
        real = self.resolve(path) if follow else self.resolve_parent(path)
        return self.describe(path, self.entries[real], checksum=checksum) if real in self.entries else None

    def list(self, path: str) -> list[Stat]:
        self._note("list", path=path)
        real = self.resolve(path)
        if self.existing(path).type != "directory":
            raise problem("ENOTDIR", path)
        inside = sorted(one for one in self.entries if one != "/" and os.path.dirname(one) == real)
        return [
            self.describe(os.path.join(path, os.path.basename(one)), self.entries[one], checksum=False)
            for one in inside
        ]

    def remove(self, path: str) -> bool:
        self._note("remove", path=path)
        real = self.resolve_parent(path)
        tree = [one for one in self.entries if one == real or one.startswith(real.rstrip("/") + "/")]
        if self.mount_points & set(tree):
            raise problem("EBUSY", path)
        for one in tree:
            del self.entries[one]
        return bool(tree)

    def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True) -> bool:
        self._note("mkdir", path=path, mode=mode, parents=parents)
        real = self.resolve(path)
        if real in self.entries:
            if self.entries[real].type != "directory":
                raise problem("EEXIST", path)
            return False
        if parents:
            self.add_parents(real)
        self.parent_of(real)
        self.entries[real] = Entry("directory", 0o755 if mode is None else mode, self.uid, self.uid)
        return True

    def link(self, target: str, path: str, *, hard: bool = False) -> None:
        self._note("link", target=target, path=path, hard=hard)
        real = self.resolve_parent(path)
        self.parent_of(real)
        if real in self.entries and self.entries[real].type == "directory":
            raise problem("EISDIR", path)
        self.entries[real] = (
            self.existing(target) if hard else Entry("link", 0o777, self.uid, self.uid, target=target)
        )

    def chmod(self, path: str, mode: int, *, follow: bool = True) -> None:
        self._note("chmod", path=path, mode=mode, follow=follow)
        entry = self.existing(path, follow=follow)
        if entry.type != "link":
            entry.mode = mode

    def chown(
        self, path: str, *, owner: str | None = None, group: str | None = None, follow: bool = True
    ) -> None:
        self._note("chown", path=path, owner=owner, group=group, follow=follow)
        entry = self.existing(path, follow=follow)
        entry.uid = entry.uid if owner is None else self.uid_of(owner)
        entry.gid = entry.gid if group is None else self.gid_of(group)

    def call(self, module: str, function: str, /, **arguments: Any) -> Any:
        self._note("call", module=module, function=function, **arguments)
        handler = self._calls.get((module, function))
        if handler is None:
            raise AssertionError(f"FakeNode {self._host}: nobody scripted {module}.{function}")
        return handler(**arguments)

    def start(
        self,
        program: bytes,
        arguments: Sequence[str],
        *,
        line: Callable[[str], None],
        name: str = "program",
    ) -> FakeStream:
        self._note("start", program=program, arguments=tuple(arguments), name=name)
        if name not in self._programs:
            raise AssertionError(f"FakeNode {self._host}: nobody scripted the program {name!r}")
        for text in self._programs[name]:
            line(text)
        now = time.time()
        return FakeStream(Completed((name, *arguments), 0, b"", b"", now, now))

    def clock_offset(self, error: float = 0.0, meanwhile: Callable[[], None] = lambda: None) -> float:  # noqa: ARG002
        meanwhile()
        return self.offset

    def close(self) -> None:
        self.closed = True

    # ------------------------------------------------------------ within

    def _note(self, op: str, **arguments: Any) -> None:
        self.log.append(Call(op, arguments))
        for failing, path, errno_name in self._failures:
            if failing == op and path in (None, arguments.get("path")):
                raise problem(errno_name, arguments.get("path"))
