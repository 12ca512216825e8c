"""A paramiko channel as the byte pipe an agent speaks over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from labctl.ssh.libraries import paramiko

STALLED = 60.0  # seconds without room for a byte until a send gives up
PATIENCE = 2.0  # seconds for a goodbye
_PIECE = (32 << 10) - 64  # bytes: as much as paramiko puts into a message to sshd


class ChannelPipe:
    """See `labctl.node.link.Pipe`."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._tail = b""
        self._reading_errors = threading.Lock()

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        until = time.monotonic() + STALLED
        while view:
            try:
                sent = self._channel.send(bytes(view[:_PIECE]))
            except TimeoutError:  # the timeout is `recv`'s: sending and receiving share it
                if time.monotonic() > until:
                    raise
                continue
            if not sent:
                raise EOFError("the channel is closed")
            view = view[sent:]
            until = time.monotonic() + STALLED

    def recv(self, size: int, timeout: float) -> bytes | None:
        self._read_errors()
        self._channel.settimeout(max(0.01, timeout))
        try:
            return self._channel.recv(size)
        except TimeoutError:
            return None

    def _read_errors(self) -> None:
        with self._reading_errors:
            while self._channel.recv_stderr_ready():
                data = self._channel.recv_stderr(65536)
                if not data:
                    return
                self._tail = (self._tail + data)[-8192:]

    def errors(self) -> str:
        # stderr and the end of stdout are separate messages
        until = time.monotonic() + 0.5
        while self._channel.closed is False and not self._tail and time.monotonic() < until:
            self._read_errors()
            time.sleep(0.005)
        self._read_errors()
        return self._tail.decode(errors="replace")

    def finish(self) -> None:
        self._say(self._channel.shutdown_write)

    def close(self) -> None:
        self._say(self._channel.close)

    def _say(self, goodbye: Callable[[], None]) -> None:
        """Saying goodbye needs the transport, and a sender stuck on a frozen host holds it: then it is closed,
        which frees everybody."""

        def work() -> None:
            try:
                goodbye()
            except (OSError, EOFError, paramiko.SSHException):
                return  # it has ended already

        if self._channel.closed:
            return
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        transport = self._channel.get_transport()
        if thread.is_alive() and transport is not None:
            transport.close()
