"""Starting one process fast. Runs on the node: standard library only, Python 3.8 syntax.

posix_spawn needs 0.55 ms where subprocess.Popen needs 0.87 ms (CPython 3.11, glibc 2.36), and subprocess costs
every agent 10 ms to import; it is used for a working directory, which os.posix_spawn cannot set, and for
C libraries without POSIX_SPAWN_SETSID."""

from __future__ import annotations

import _signal as signal
import posix

TYPE_CHECKING = False  # typing itself takes longer to import than this module
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple


def text(data: bytes) -> str:
    """As `os.fsdecode` has it: the agent runs with -X utf8."""
    return data.decode("utf-8", "surrogateescape")


ENVIRONMENT = {text(name): text(value) for name, value in posix.environ.items()}  # the agent's own

# A command starts with all signals at their default but those this agent was started to ignore, which Python itself does
# with two. Those that are named cost the C library one call for each command instead of two.
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)
_DEFAULT = [
    number
    for number in signal.valid_signals()
    if number in _PYTHONS or signal.getsignal(number) != signal.SIG_IGN
]


class Child:
    """A process that leads a session of its own, and this end of its standard streams (-1: none)."""

    def __init__(self, argv: Sequence[str], env: Dict[str, str], cwd: Optional[str], has_stdin: bool) -> None:
        mine: List[int] = []
        theirs: List[int] = []
        try:
            for number in (0, 1, 2):
                ours, its = _ends(number, has_stdin)
                mine.append(ours)
                theirs.append(its)
            self.pid = _spawn(list(argv), env, cwd, theirs)
        except BaseException:
            _close(mine)
            raise
        finally:
            _close(theirs)
        self.streams = mine
        self._status: Optional[int] = None

    def poll(self) -> Optional[int]:
        """Exit status, -N for signal N, None while it runs. For one thread only."""
        if self._status is None:
            try:
                pid, status = posix.waitpid(self.pid, posix.WNOHANG)
            except ChildProcessError:  # somebody else collected it
                pid, status = self.pid, 0
            if pid:
                self._status = (
                    -posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)
                )
        return self._status

    def close(self, number: int) -> None:
        if self.streams[number] >= 0:
            posix.close(self.streams[number])
            self.streams[number] = -1


def _ends(number: int, has_stdin: bool) -> Tuple[int, int]:
    if number == 0 and not has_stdin:
        return -1, 0  # the agent's own, which is /dev/null
    reading, writing = posix.pipe()
    if number:
        return reading, writing  # read from only where something is there: it need not be told not to wait
    posix.set_blocking(writing, False)
    return writing, reading


def _close(fds: List[int]) -> None:
    for fd in fds:
        if fd > 0:
            posix.close(fd)


def _spawn(argv: List[str], env: Dict[str, str], cwd: Optional[str], streams: List[int]) -> int:
    if cwd is None and hasattr(posix, "posix_spawn"):
        own_path = env.get("PATH") == ENVIRONMENT.get("PATH")  # then libc looks in the same folders
        try:
            return (posix.posix_spawnp if own_path else posix.posix_spawn)(
                argv[0] if own_path else _program(argv[0], env),
                argv,
                env,
                file_actions=[(posix.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(streams)],
                setsid=True,
                setsigmask=[],
                setsigdef=_DEFAULT,
            )
        except NotImplementedError:
            pass
    import subprocess

    stdin, stdout, stderr = streams
    popen = subprocess.Popen(
        argv, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, start_new_session=True
    )
    popen.returncode = 0  # it is ours to wait for
    return popen.pid


def _program(name: str, env: Dict[str, str]) -> str:
    """The file a command name means, by the PATH the command itself gets."""
    import errno
    import os

    if "/" in name:
        return name
    number = errno.ENOENT
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            if posix.access(path, posix.X_OK):
                return path
            number = errno.EACCES
    raise OSError(number, posix.strerror(number), name)
