"""The transport to one host that is kept for the next command line, and made anew where it has died."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labctl.errors import Unreachable
from labctl.ssh.settings import ConnectionSettings

if TYPE_CHECKING:
    import paramiko

    from labctl.ssh.transport import Session


class Kept:
    """Hold `lock` around `execute`; `close` needs none, and frees whoever waits for the host."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._session: Session | None = None

    def execute(
        self, settings: ConnectionSettings, line: str, environment: Mapping[str, str] | None = None
    ) -> paramiko.Channel:
        """Start a command line, over the transport that is open or a new one: an old one may have died
        unnoticed. Raises Unreachable and its children."""
        from labctl.ssh.transport import Session

        if self._session and self._session.alive:
            try:
                return self._session.execute(line, environment)
            except Unreachable:
                if self._session.alive:  # it lives and refuses
                    raise
        self._session = Session(settings, None if environment else line)
        return self._session.execute(line, environment)

    def close(self) -> None:
        session, self._session = self._session, None
        if session:
            session.close()
