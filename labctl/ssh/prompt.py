"""A TCP socket fit for SSH by paramiko."""

from __future__ import annotations

import socket
import struct

_LITTLE, _MUCH = 4 << 10, 128 << 10  # bytes read ahead: at first, and by a socket that brings so much


class PromptSocket(socket.socket):
    """Acknowledges at once. Sshd sets TCP_NODELAY only for terminals: its second small packet waits for the
    acknowledgement of the first, which the kernel would hold back for 40 ms. TCP_QUICKACK wears off.

    Reads ahead: paramiko asks for each packet in two parts, and each look at the socket is a change of threads.
    Leaves timeouts to the kernel, as Python would look at the socket once more before each use for them."""

    _ahead = memoryview(b"")
    _at = _end = 0  # of `_ahead`: what was read and nobody has taken

    def settimeout(self, value: float | None, /) -> None:
        super().settimeout(None if value else value)
        seconds = value or 0.0
        limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def recv(self, size: int, flags: int = 0, /) -> bytes:  # noqa: ARG002 - paramiko gives none
        if self._at == self._end and not self._fill(1):
            return b""
        at, self._at = self._at, min(self._at + size, self._end)
        return bytes(self._ahead[at : self._at])

    def whole(self, size: int) -> memoryview:
        """That many bytes in a row; they are there until the next is read. Raises EOFError, and TimeoutError when they
        have not all come: what has is kept."""
        while self._end - self._at < size:
            if not self._fill(size):
                raise EOFError
        at, self._at = self._at, self._at + size
        return self._ahead[at : self._at]

    def held(self, size: int) -> memoryview | None:
        """That many bytes in a row which have been read and nobody has taken, if they are there."""
        return self._ahead[self._at : self._at + size] if self._end - self._at >= size else None

    def fill(self, size: int) -> None:
        """Read what is there, without a wait, so that `size` bytes have room in a row. Raises EOFError, TimeoutError."""
        if not self._fill(size, socket.MSG_DONTWAIT):
            raise EOFError

    def _fill(self, size: int, flags: int = 0) -> int:
        """Read once, so that in the end `size` bytes are in a row; how many came, 0 at the end."""
        held = self._end - self._at
        if self._at + size > len(self._ahead) or not held:
            full = self._end == len(self._ahead)
            room = max(size, min(max(_LITTLE, len(self._ahead) * 4), _MUCH) if full else len(self._ahead))
            before = self._ahead[self._at : self._end]
            if room > len(self._ahead):
                self._ahead = memoryview(bytearray(room))
            self._ahead[:held] = before
            self._at, self._end = 0, held
        try:
            count = self.recv_into(self._ahead[self._end :], 0, flags)
        except BlockingIOError:
            raise TimeoutError from None
        if count and hasattr(socket, "TCP_QUICKACK"):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._end += count
        return count

    def close(self) -> None:
        """Whoever waits for what comes is freed, too."""
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended already
            pass
        super().close()

    def send(self, data: bytes | memoryview, flags: int = 0, /) -> int:  # type: ignore[override]
        try:
            return super().send(data, flags)
        except BlockingIOError:
            raise TimeoutError from None
