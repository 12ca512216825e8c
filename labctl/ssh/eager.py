"""An SSH transport that authenticates in one round trip less than paramiko's, and whose connection others may read."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from labctl.ssh.libraries import paramiko
from labctl.ssh.shared import Shared

_LOOK_UP = 1.0  # seconds until those who wait look whether the connection still holds


class Transport(paramiko.Transport):
    """Asks for authentication by key in the same flight as for the service that does it: what the key will sign is
    known by then, and a server takes messages in their order."""

    packetizer: Shared

    def __init__(self, sock: Any, **kwargs: Any) -> None:
        super().__init__(sock, packetizer_class=Shared, **kwargs)

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        if event is not None:
            super().start_client(event)
            return
        done = _Awaited(timeout)
        super().start_client(done)
        while not done.wait() and self.is_active() and not done.late:
            pass
        if not self.is_active():
            raise self.get_exception() or paramiko.SSHException("Negotiation failed.")

    def auth_publickey(
        self, username: str, key: paramiko.PKey, event: threading.Event | None = None
    ) -> list[str]:
        if not (self.is_active() and self.initial_kex_done):
            raise paramiko.SSHException("No existing session")
        done = event or _Awaited(self.auth_timeout)
        handler = self.auth_handler = _Eager(self)
        handler.auth_publickey(username, key, done)
        return [] if event else handler.wait_for_response(done)

    # What an agent says may be read by whoever waits for it, as long as its channel is the only one.

    def share(self) -> None:
        self.packetizer.share(self)

    def aside(self, work: Callable[[], None]) -> None:
        """Do it in this transport's own thread, if the one that calls may be another."""
        self.packetizer.aside(work)

    def open_channel(self, *args: Any, **kwargs: Any) -> paramiko.Channel:
        with self.packetizer.unshared():
            return super().open_channel(*args, **kwargs)


class _Awaited(threading.Event):
    """Waited for `seconds` at the most. Paramiko looks every 0.1 s whether the connection still holds, which is most of what
    the threads of many hosts wake up for while they log in."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__()
        self._until = math.inf if seconds is None else time.monotonic() + seconds

    @property
    def late(self) -> bool:
        return time.monotonic() >= self._until

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - it is paramiko's 0.1 s
        return super().wait(max(0.0, min(_LOOK_UP, self._until - time.monotonic())))


class _Eager(paramiko.auth_handler.AuthHandler):
    _asked = False

    def _request_auth(self) -> None:
        key = self.private_key
        # An RSA key's algorithm is what the server says it takes. Known before the server's answer can come.
        self._asked = key is not None and "rsa" not in key.get_name()
        super()._request_auth()  # type: ignore[misc]
        if not self._asked:
            return
        accepted = paramiko.Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)  # type: ignore[misc]

    def _parse_service_accept(self, m: paramiko.Message) -> None:
        if not self._asked:
            super()._parse_service_accept(m)  # type: ignore[misc]
