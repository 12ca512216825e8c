"""What a node can do for a task: a few typed primitives, the same over SSH and in memory.

Every call is one round trip. Paths are absolute paths on the node, bytes are bytes, modes are ints
(0o644). Calls block the calling thread and may be made from several threads at once. They raise
`NodeError` (with `errno_name`) when the node says no and `Unreachable` when it does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, Unpack

from labctl.node.clock import CLOSE
from labctl.records import dataclass

FileType = Literal["file", "directory", "link", "fifo", "socket", "block", "char"]
Output = Callable[[Literal["stdout", "stderr"], str], None]


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended. `rc` is its exit status, -N when signal N ended it. Times are seconds on
    the node's clock (`start`, `end`: since the epoch)."""

    argv: tuple[str, ...]
    rc: int
    stdout: bytes
    stderr: bytes
    start: float
    end: float
    timed_out: bool = False
    skipped: str | None = None  # 'creates' or 'removes' made it unnecessary: why

    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    def error_text(self) -> str:
        return self.stderr.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Stat:
    """One file. `checksum` is the sha1 hex digest of a regular file's content, when asked for;
    `target` is a link's text. `mtime` and `atime` are seconds since the epoch."""

    path: str
    type: FileType
    mode: int
    uid: int
    gid: int
    owner: str
    group: str
    size: int
    mtime: float
    atime: float
    inode: int
    device: int
    links: int
    target: str | None = None
    checksum: str | None = None


class CommandOptions(TypedDict, total=False):
    """How a node runs a command. `env` is added to the agent's environment. `output` is called with each piece of
    text as it comes. After `timeout` seconds everything it started is killed and `timed_out` is set.
    `creates`/`removes`: globs that make it unnecessary."""

    stdin: bytes
    env: Mapping[str, str] | None
    cwd: str | None
    timeout: float | None
    output: Output | None
    creates: str | None
    removes: str | None


class Stream(Protocol):
    """A program running on the node whose output lines come back as they are written."""

    def stop(self, timeout: float = 5.0) -> Completed:
        """End it (SIGTERM, then SIGKILL after `timeout` seconds); what it wrote to stderr comes back.
        All its lines have been delivered when this returns."""

    def wait(self, timeout: float | None = None) -> Completed:
        """Wait until it ends by itself. Raises TaskTimeout."""

    @property
    def running(self) -> bool: ...


class Node(Protocol):
    """One host as one user. See the module's docstring for the rules that hold for every call."""

    @property
    def host(self) -> str:
        """The inventory name."""

    def run(self, argv: Sequence[str], **how: Unpack[CommandOptions]) -> Completed:
        """Run a command in a session of its own, without a shell (`["/bin/sh", "-c", text]` is one). It is killed when
        the connection ends."""

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        """A file's content; NodeError ENOENT, EISDIR, EACCES, or EFBIG when it exceeds `limit` bytes."""

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
        """Replace a file atomically; its mode is right from the first byte (an existing file keeps its
        mode and owner where none is given, a new one gets 0o666 less the umask). Returns the backup's
        path. On any error, ENOSPC included, the old file is untouched and no temporary is left."""

    def put(self, source: Path, path: str, *, mode: int | None = None) -> None:
        """Like `write` from a local file of any size, streamed."""

    def get(self, path: str, destination: Path) -> None:
        """Copy a remote file of any size to a local path, atomically, streamed."""

    def stat(self, path: str, *, follow: bool = False, checksum: bool = False) -> Stat | None:
        """None when there is no such file."""

    def list(self, path: str) -> list[Stat]:
        """The entries of a directory, sorted by name."""

    def remove(self, path: str) -> bool:
        """Remove a file or a whole tree (never across a mount point); False when it was not there."""

    def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True) -> bool:
        """False when the directory was there already."""

    def link(self, target: str, path: str, *, hard: bool = False) -> None:
        """Make a link at `path`, replacing a link or file atomically."""

    def chmod(self, path: str, mode: int, *, follow: bool = True) -> None: ...

    def chown(
        self, path: str, *, owner: str | None = None, group: str | None = None, follow: bool = True
    ) -> None: ...

    def call(self, module: str, function: str, /, **arguments: Any) -> Any:
        """Call a function of `labctl/node/functions/<module>.py` (stdlib only, Python ≥ 3.8) on the node
        with JSON arguments; its JSON return value comes back. The module travels once per agent, with those
        modules beside it that it imports by name."""

    def start(
        self,
        program: bytes,
        arguments: Sequence[str],
        *,
        line: Callable[[str], None],
        name: str = "program",
    ) -> Stream:
        """Run Python source on the node (a collector); `line` gets each line it prints, without the
        newline, from a reader thread. It dies with the connection."""

    def clock_offset(self, error: float = CLOSE, meanwhile: Callable[[], None] = ...) -> float:
        """Seconds to add to the controller's `time.time()` to get the node's, wrong by `error` at the most; where that
        cannot be had, by half of the fastest of up to ten round trips (labctl.node.clock). Remembered. What is asked of the
        node `meanwhile` goes in one flight with the first of them."""

    def close(self) -> None: ...
