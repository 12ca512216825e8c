"""A TCP socket fit for SSH by paramiko."""

from __future__ import annotations

import socket
import struct

_READ_AHEAD = 128 << 10  # bytes


class PromptSocket(socket.socket):
    """Acknowledges at once. Sshd sets TCP_NODELAY only for terminals: its second small packet waits for the
    acknowledgement of the first, which the kernel would hold back for 40 ms. TCP_QUICKACK wears off.

    Reads ahead: paramiko asks for each packet in two parts, and each look at the socket is a change of threads.
    Leaves timeouts to the kernel, as Python would look at the socket once more before each use for them."""

    _ahead = b""
    _at = 0

    def settimeout(self, value: float | None, /) -> None:
        super().settimeout(None if value else value)
        seconds = value or 0.0
        limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        at = self._at
        if at == len(self._ahead):
            try:
                self._ahead = super().recv(max(size, _READ_AHEAD), flags)
            except BlockingIOError:
                raise TimeoutError from None
            if self._ahead and hasattr(socket, "TCP_QUICKACK"):
                self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            at = 0
        self._at = min(at + size, len(self._ahead))
        return self._ahead[at : self._at]

    def close(self) -> None:
        """Whoever waits for what comes is freed, too."""
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended already
            pass
        super().close()

    def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]
        try:
            return super().send(data, flags)
        except BlockingIOError:
            raise TimeoutError from None
