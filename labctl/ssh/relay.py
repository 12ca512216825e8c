"""The controller's end of an agent's pipe whose SSH connection a worker process holds.

Between the two is a socket that keeps the bounds of messages. What the worker sends begins with a byte that says
what it is; what it is sent are bytes for the agent."""

from __future__ import annotations

import pickle
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable

from labctl.node.link import pieces

OUTPUT, ERRORS, STARTED, FAILED = b"o", b"e", b"s", b"f"  # FAILED: then the pickled exception
PIECE = 1 << 16  # bytes of a message at most, besides the first
STALLED = 60  # seconds without room for a byte until a send gives up
_TAIL = 8192


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class RelayPipe:
    """See `labctl.node.link.Pipe`."""

    def __init__(self, end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", STALLED, 0))
        self._end = end
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._reading, self._sending = threading.Lock(), threading.Lock()
        self._output: deque[bytes] = deque()
        self._tail = b""
        self._ended = False

    def started(self) -> None:
        """Wait until the worker has started the command line. Raises what kept it from that, and EOFError where
        the worker has ended."""
        with self._reading:
            try:
                message = self._end.recv(PIECE + 1)
            except OSError:
                message = b""
        if message[:1] == FAILED:
            raise pickle.loads(message[1:])  # noqa: S301 - labctl itself wrote it
        if message != STARTED:
            raise EOFError

    def send(self, data: bytes, body: bytes | memoryview = b"") -> None:
        with self._sending:
            for piece in pieces(data, body, PIECE):
                self._end.send(piece)  # a message: all of it or nothing

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Only `recv` has it here."""

    def recv(self, size: int, timeout: float) -> bytes | None:  # noqa: ARG002 - messages are no larger than PIECE
        until = time.monotonic() + timeout
        while not self._output:
            if self._ended:
                return b""
            if not self._read(max(0.0, until - time.monotonic())):
                return None
        return self._output.popleft()

    def _read(self, timeout: float) -> bool:
        """Read a message; False when none came in time."""
        with self._reading:
            if self._end.fileno() < 0:
                self._ended = True
            elif not self._poll.poll(1000 * timeout):
                return False
            elif not (message := self._end.recv(PIECE + 1)):
                self._ended = True
            elif message[:1] == ERRORS:
                self._tail = (self._tail + message[1:])[-_TAIL:]
            else:
                self._output.append(message[1:])
        return True

    def errors(self) -> str:
        # stderr and the end of stdout are separate messages
        until = time.monotonic() + 0.5
        try:
            while not self._ended and (left := until - time.monotonic()) > 0:
                if not self._read(0.0 if self._tail else left) and self._tail:
                    break
        except OSError:
            self._ended = True
        return self._tail.decode(errors="replace")

    def finish(self) -> None:
        self._end.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Whoever reads or sends is freed first: the number of a closed descriptor is soon another's."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed, or the worker has ended
        with self._reading, self._sending:
            self._end.close()
