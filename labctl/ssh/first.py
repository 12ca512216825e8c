"""The first command of a connection, asked for before it is known that the connection may have one.

A server takes messages in their order, and what comes after a request for authentication is for the service it leads to
(RFC 4252, 5.1). So a session can be opened, and a command asked for in it, in one flight with that request. It takes
knowing by which number the server will call the session: OpenSSH counts those of a connection from 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labctl.ssh.libraries import paramiko
from labctl.ssh.tap import Tap
from labctl.ssh.waiting import Awaited

if TYPE_CHECKING:
    from labctl.ssh.eager import Transport

_THERE = 0  # its number on the server


def possible(transport: Transport) -> bool:
    """Whether the server's next session is its first, and its number known."""
    return transport.remote_version.startswith("SSH-2.0-OpenSSH") and not transport.channels_seen


class First:
    """`channel` is of use once `wait` has returned."""

    def __init__(self, transport: Transport, command: str) -> None:
        """Ask for it. Raises OSError and EOFError where the connection has ended."""
        self._transport: Any = transport  # how paramiko keeps its channels is private to it
        self._opened = Awaited(transport.channel_timeout)
        self.channel = self._made()
        for message in (self._opening(), self._request(command)):
            self._send(message)

    def _made(self) -> paramiko.Channel:
        transport = self._transport
        with transport.lock:
            self._number = transport._next_channel()  # noqa: SLF001
            channel = paramiko.Channel(self._number)
            channel.in_buffer = Tap(channel)
            transport._channels.put(self._number, channel)  # noqa: SLF001
            transport.channel_events[self._number] = self._opened
            transport.channels_seen[self._number] = True
            channel._set_transport(transport)  # type: ignore[attr-defined]  # noqa: SLF001
            channel._set_window(  # type: ignore[attr-defined]  # noqa: SLF001
                transport.default_window_size, transport.default_max_packet_size
            )
        return channel

    def _send(self, message: paramiko.Message) -> None:
        self._transport._send_user_message(message)  # noqa: SLF001

    def _opening(self) -> paramiko.Message:
        message = paramiko.Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_OPEN)
        message.add_string("session")
        message.add_int(self._number)
        message.add_int(self._transport.default_window_size)
        message.add_int(self._transport.default_max_packet_size)
        return message

    def _request(self, command: str) -> paramiko.Message:
        message = paramiko.Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
        message.add_int(_THERE)
        message.add_string("exec")
        message.add_boolean(True)
        message.add_string(command)
        return message

    def wait(self) -> None:
        """Until the command has started, and it may have ended. Raises SSHException, and ChannelException where the
        server opens no session."""
        transport, channel = self._transport, self.channel
        self._opened.wait_while(transport.is_active)
        if not channel.active:
            raise transport.get_exception() or paramiko.SSHException("Unable to open channel.")
        if channel.remote_chanid != _THERE:
            transport.close()
            raise paramiko.SSHException(f"its first channel has the number {channel.remote_chanid}")
        channel._wait_for_event()  # type: ignore[attr-defined]  # noqa: SLF001

    def forget(self) -> None:
        """The server did not take it: authentication has failed, or asks for more."""
        self._transport.channel_events.pop(self._number, None)
        self.channel._unlink()  # type: ignore[attr-defined]  # noqa: SLF001
