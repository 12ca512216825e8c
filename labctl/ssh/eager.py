"""An SSH transport that authenticates in one round trip less than paramiko's."""

from __future__ import annotations

import threading

from labctl.ssh.libraries import paramiko


class Transport(paramiko.Transport):
    """Asks for authentication by key in the same flight as for the service that does it: what the key will sign is
    known by then, and a server takes messages in their order."""

    def auth_publickey(
        self, username: str, key: paramiko.PKey, event: threading.Event | None = None
    ) -> list[str]:
        if not (self.is_active() and self.initial_kex_done):
            raise paramiko.SSHException("No existing session")
        done = event or threading.Event()
        handler = self.auth_handler = _Eager(self)
        handler.auth_publickey(username, key, done)
        return [] if event else handler.wait_for_response(done)


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
