"""An SSH transport that takes fewer round trips to its first command than paramiko's, and whose connection others may
read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from labctl.ssh import first
from labctl.ssh.first import First
from labctl.ssh.libraries import paramiko
from labctl.ssh.shared import Shared
from labctl.ssh.tap import Tap
from labctl.ssh.waiting import Awaited


class Transport(paramiko.Transport):
    """Asks for authentication by key in the same flight as for the service that does it: what the key will sign is
    known by then, and a server takes messages in their order."""

    packetizer: Shared

    def __init__(self, sock: Any, *, wanted: str | None = None, **kwargs: Any) -> None:
        """`wanted`: what will be executed first, unprepared: it may be asked for together with authentication."""
        super().__init__(sock, packetizer_class=Shared, **kwargs)
        self._wanted = wanted
        self._first: First | None = None

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        if event is not None:
            super().start_client(event)
            return
        done = Awaited(timeout)
        super().start_client(done)
        done.wait_while(self.is_active)
        if not self.is_active():
            raise self.get_exception() or paramiko.SSHException("Negotiation failed.")

    def auth_publickey(
        self, username: str, key: paramiko.PKey, event: threading.Event | None = None
    ) -> list[str]:
        if not (self.is_active() and self.initial_kex_done):
            raise self.get_exception() or paramiko.AuthenticationException("the server has hung up")
        done = Awaited(self.auth_timeout)
        handler = self.auth_handler = _Eager(self)
        with suppress(OSError, EOFError), self.packetizer.together():  # the answer says why
            handler.auth_publickey(username, key, event or done)
            if self._wanted is not None and handler.asked and first.possible(self):
                self._first = First(self, self._wanted)
        if event:
            return []
        done.wait_while(self.is_active)
        try:
            return [] if self.let_in else handler.wait_for_response(done)
        finally:
            if self._first and not self.let_in:
                self._first.forget()
                self._first = None

    @property
    def let_in(self) -> bool:
        """Whether the server has let the user in, also where it has hung up since."""
        return self.auth_handler is not None and self.auth_handler.is_authenticated()

    def execute(
        self, command: str, prepare: Callable[[paramiko.Channel], None] | None = None
    ) -> paramiko.Channel:
        """Start a command in a session of its own, which is to be prepared for it. Raises SSHException, and
        ChannelException where the server opens no session."""
        begun, self._first = self._first, None
        if begun is None and prepare is None and first.possible(self):
            begun = First(self, command)
        if begun is not None:
            begun.wait()
            return begun.channel
        channel = self.open_session()
        channel.in_buffer = Tap(channel)
        if prepare:
            prepare(channel)
        channel.exec_command(command)
        return channel

    # What an agent says may be read by whoever waits for it, as long as its channel is the only one.

    def share(self) -> None:
        self.packetizer.share(self)

    def aside(self, work: Callable[[], None]) -> None:
        """Do it in this transport's own thread, if the one that calls may be another."""
        self.packetizer.aside(work)

    def open_channel(self, *args: Any, **kwargs: Any) -> paramiko.Channel:
        with self.packetizer.unshared():
            return super().open_channel(*args, **kwargs)


class _Eager(paramiko.auth_handler.AuthHandler):
    asked = False

    def _request_auth(self) -> None:
        key = self.private_key
        # An RSA key's algorithm is what the server says it takes. Known before the server's answer can come.
        self.asked = key is not None and "rsa" not in key.get_name()
        super()._request_auth()  # type: ignore[misc]
        if not self.asked:
            return
        accepted = paramiko.Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)  # type: ignore[misc]

    def _parse_service_accept(self, m: paramiko.Message) -> None:
        if not self.asked:
            super()._parse_service_accept(m)  # type: ignore[misc]
