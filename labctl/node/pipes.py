"""A pipe to an agent that runs as a child process of this one (`connection: local`)."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Callable, Sequence

from labctl.node.link import pieces

_PIECE = 1 << 16  # bytes: as much as a pipe holds


class ProcessPipe:
    """See `labctl.node.link.Pipe`. The child leads a session of its own: Ctrl-C in the terminal is the
    controller's to handle."""

    def __init__(self, argv: Sequence[str], folder: str | None = None) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin, self._stdout, self._stderr = (
            self._process.stdin,
            self._process.stdout,
            self._process.stderr,
        )
        os.set_blocking(self._stderr.fileno(), False)
        self._poll = select.poll()
        self._poll.register(self._stdout.fileno(), select.POLLIN)
        self._poll.register(self._stderr.fileno(), select.POLLIN)
        self._tail = b""
        self._closing = threading.Lock()
        self._closed = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, data: bytes, body: bytes | memoryview = b"") -> None:
        for piece in pieces(data, body, _PIECE):
            left = piece
            while left:
                left = left[os.write(self._stdin.fileno(), left) :]

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Only `recv` has it here."""

    def recv(self, size: int, timeout: float) -> bytes | None:
        while True:
            ready = [fd for fd, _ in self._poll.poll(timeout * 1000)]
            if self._stdout.fileno() in ready:
                return os.read(self._stdout.fileno(), size)
            if not ready:
                return None
            if not self._read_errors():
                self._poll.unregister(self._stderr.fileno())

    def _read_errors(self) -> bool:
        try:
            data = os.read(self._stderr.fileno(), 65536)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            return False
        self._tail = (self._tail + data)[-8192:]
        return bool(data)

    def errors(self) -> str:
        self._read_errors()
        return self._tail.decode(errors="replace")

    def finish(self) -> None:
        self._stdin.close()

    def close(self) -> None:
        """Close the pipes and collect the child; one that does not end within 5 s is killed."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._stdin.close()
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._read_errors()
            self._stdout.close()
            self._stderr.close()
