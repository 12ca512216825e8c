"""A wall clock over everything one thread asks of nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_current = threading.local()


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Within it, every call to a node in this thread raises TaskTimeout once `seconds` are over, and what it
    runs on the node is killed. None: no limit. Limits nest; the nearest end counts."""
    outer: float | None = getattr(_current, "deadline", None)
    inner = None if seconds is None else time.monotonic() + seconds
    given = [one for one in (outer, inner) if one is not None]
    _current.deadline = min(given) if given else None
    try:
        yield
    finally:
        _current.deadline = outer


def deadline() -> float | None:
    """When the current thread's limit ends, on the monotonic clock."""
    return getattr(_current, "deadline", None)
