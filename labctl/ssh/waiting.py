"""Waiting for a server's answer, without paramiko's look every 0.1 s whether the connection still holds: that is most of
what the threads of many hosts wake up for while they log in."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

LOOK_UP = 1.0  # seconds until who waits looks whether all is well


class Awaited(threading.Event):
    """Waited for `seconds` at the most."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__()
        self._until = math.inf if seconds is None else time.monotonic() + seconds

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - it is paramiko's 0.1 s
        return super().wait(max(0.0, min(LOOK_UP, self._until - time.monotonic())))

    def wait_while(self, alive: Callable[[], bool]) -> None:
        while not self.wait() and alive() and time.monotonic() < self._until:
            pass
