"""Waiting for what another thread, process or node does, with a limit that fails the test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(
    condition: Callable[[], Found], seconds: float, what: str | Callable[[], object], *, every: float = 0.05
) -> Found:
    """What the condition finds as soon as it is true; AssertionError with `what` where that takes longer."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, what() if callable(what) else what
        time.sleep(every)
    return found
