"""Doing so much a second, and no more."""

from __future__ import annotations

import time

CATCH_UP = 1.0  # seconds: no more than this is made up for after others had the processor


class Pace:
    def __init__(self, rate: float | None) -> None:
        """`rate`: units a second; None: as fast as it goes."""
        self.rate = rate
        self.due = time.monotonic()

    def wait(self, amount: float) -> None:
        """Sleep until these units were due."""
        if not self.rate:
            return
        now = time.monotonic()
        self.due = max(self.due, now - CATCH_UP) + amount / self.rate
        if self.due > now:
            time.sleep(self.due - now)
