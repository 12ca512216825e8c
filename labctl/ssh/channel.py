"""A paramiko channel as the byte pipe an agent speaks over."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from labctl.node.link import pieces
from labctl.ssh.libraries import paramiko
from labctl.ssh.packets import Data
from labctl.ssh.tap import Tap

if TYPE_CHECKING:
    from labctl.ssh.eager import Transport

STALLED = 60.0  # seconds without room for a byte until a send gives up
PATIENCE = 2.0  # seconds for a goodbye
_PIECE = (32 << 10) - 64  # bytes: as much as paramiko puts into a message to sshd


class ChannelPipe:
    """See `labctl.node.link.Pipe`."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._tap = cast("Tap", channel.in_buffer)  # Session.execute has seen to that
        self._tail = b""
        self._reading_errors = threading.Lock()

    def send(self, data: bytes, body: bytes | memoryview = b"") -> None:
        for piece in pieces(data, body, _PIECE):
            left = piece
            while left:
                left = left[self._send_some(left) :]

    def _send_some(self, data: memoryview) -> int:
        """As much as there is room for, but something; how much that was."""
        until = time.monotonic() + STALLED
        while True:
            try:
                sent = self._send(data)
            except TimeoutError:  # the timeout is `recv`'s: sending and receiving share it
                if time.monotonic() > until:
                    raise
                continue
            if not sent:
                raise EOFError("the channel is closed")
            return sent

    def _send(self, data: memoryview) -> int:
        """As the channel's own `send`, but for the copies."""
        channel: Any = self._channel  # its way of waiting for room is private to it
        with channel.lock:
            if channel.closed:
                raise OSError("the channel is closed")
            size: int = channel._wait_for_send_window(len(data))  # noqa: SLF001
        if size:
            channel.transport._send_user_message(Data(channel.remote_chanid, data[:size]))  # noqa: SLF001
        return size

    def listen(self, heard: Callable[[bytes], None]) -> None:
        self._tap.listen(heard)
        cast("Transport", self._channel.transport).share()

    def recv(self, size: int, timeout: float) -> bytes | None:
        self._read_errors()
        self._tap.make_room()
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
        """Saying goodbye needs the transport, and a sender stuck on a frozen host may hold it: then it is closed, which
        frees everybody."""

        def work() -> None:
            try:
                goodbye()
            except (OSError, EOFError, paramiko.SSHException):
                return  # it has ended already

        if self._channel.closed:
            return
        transport = self._channel.get_transport()
        if transport is None or free(transport):
            work()
            return
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            transport.close()


def free(transport: paramiko.Transport) -> bool:
    """Whether a packet can be sent over it now without a wait."""
    if not transport.is_active():
        return True
    if not transport.clear_to_send.is_set():
        return False
    sock = transport.sock
    if isinstance(sock, paramiko.Channel):
        below = sock.get_transport()
        return sock.send_ready() and (below is None or free(below))
    poll = select.poll()
    try:
        poll.register(sock.process.stdin if isinstance(sock, paramiko.ProxyCommand) else sock, select.POLLOUT)
    except ValueError:
        return True  # closed this moment
    return bool(poll.poll(0))
