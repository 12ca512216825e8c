"""How the facts modules read: small files, and programs that answer while other facts are read.

Half of what facts used to cost a node was importing `re`, `typing`, `subprocess`, `threading` and their like, 30 ms of
CPU in CPython 3.11. None of the facts modules imports them, but for what few nodes have.
"""

from __future__ import annotations

import _thread
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    Facts = Dict[str, Any]

PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_SIGPIPE, _SIGXFSZ = 13, 25  # `signal` imports `enum`


def content(path: str) -> Optional[str]:
    """A file's text without its outer white space; None when it cannot be read or is empty."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        data = piece = os.read(fd, 65536)
        while piece:
            piece = os.read(fd, 65536)
            data += piece
    except OSError:
        return None
    finally:
        os.close(fd)
    return data.decode("utf-8", "replace").replace("\r\n", "\n").strip() or None


def text(path: str, default: str = "") -> str:
    return content(path) or default


def lines(path: str) -> List[str]:
    return text(path).splitlines()


def entries(folder: str) -> List[str]:
    """What a directory holds, but for what is hidden; nothing where there is none."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []


def digits(written: str) -> str:
    """The digits a text begins with."""
    return written[: len(written) - len(written.lstrip("0123456789"))]


def program(name: str) -> Optional[str]:
    """Where a program is, searched as a system service would."""
    found = ("%s/%s" % (place, name) for place in PLACES)
    return next((path for path in found if os.access(path, os.X_OK)), None)


class Aside:
    """A function in a thread of its own, for what may hang."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._done = _thread.allocate_lock()
        self._done.acquire()
        _thread.start_new_thread(self._run, (work, arguments))

    def _run(self, work: Callable[..., None], arguments: Tuple[Any, ...]) -> None:
        try:
            work(*arguments)
        finally:
            self._done.release()

    def wait(self, seconds: float) -> None:
        """Until it has ended, but no longer than that."""
        if self._done.acquire(timeout=max(0.0, seconds)):
            self._done.release()


class _Program:
    """A running program: its process id and the pipe its output comes from."""

    def __init__(self, argv: List[str], environment: Dict[str, str]) -> None:
        self._output = b""
        self._reading, writing = os.pipe()
        try:
            self._pid = os.posix_spawn(
                argv[0],
                argv,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_DUP2, writing, 2),
                ],
                setsigdef=[_SIGPIPE, _SIGXFSZ],  # Python ignores these two
            )
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)

    def answer(self, until: float) -> Optional[Tuple[int, str]]:
        """Exit status, -N for signal N, and output; None when it has not ended by then: it is killed."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        while poll.poll(max(0.0, until - time.monotonic()) * 1000):
            piece = os.read(self._reading, 65536)
            if not piece:
                break
            self._output += piece
        pause = 0.0005
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() >= until:
                self.kill()
                return None
            time.sleep(pause)
            pause = min(0.02, pause * 2)
        os.close(self._reading)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return code, self._output.decode("utf-8", "replace")

    def kill(self) -> None:
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)
        os.close(self._reading)


class Programs:
    """Programs started all at once; their answers are asked for later, within one deadline."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._running: Dict[str, _Program] = {}

    def start(self, key: str, argv: List[str]) -> None:
        """Start a program under a key of the caller's; a program that is not there is left out."""
        path = program(argv[0])
        if path is None:
            return
        environment = dict(os.environ, LANG="C.UTF-8", LC_ALL="C.UTF-8")
        try:
            self._running[key] = _Program([path, *argv[1:]], environment)
        except OSError:  # a file that may be executed and cannot
            pass

    def said(self, key: str) -> Optional[Tuple[int, str]]:
        """Exit status and output; None when it is not installed, did not answer in time, or was never started."""
        running = self._running.pop(key, None)
        return running.answer(max(self._until, time.monotonic() + 0.05)) if running else None

    def close(self) -> None:
        """End those nobody asked."""
        while self._running:
            self._running.popitem()[1].kill()


def human(size: float) -> str:
    """Bytes as Ansible writes them: '256.00 GB', '0.00 Bytes'."""
    for suffix, limit in (
        ("YB", 80),
        ("ZB", 70),
        ("EB", 60),
        ("PB", 50),
        ("TB", 40),
        ("GB", 30),
        ("MB", 20),
        ("KB", 10),
    ):
        if size >= 1 << limit:
            return "%.2f %s" % (size / (1 << limit), suffix)
    return "%.2f Bytes" % size
