"""What is to be done unless something comes in time, for many connections by one thread: a `threading.Timer` is a thread for
each."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Limit:
    """One of them: `over` once its time has come."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act
        self.over = False

    def cancel(self) -> None:
        self._act = None

    def reach(self) -> None:
        act, self._act = self._act, None
        if act:
            self.over = True
            act()


class Limits:
    """Thread-safe. What a limit does is done in a thread of its own: it may have to wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Limit]] = []
        self._numbers = itertools.count()
        self._works = False

    def set(self, seconds: float, act: Callable[[], None]) -> Limit:
        limit = Limit(act)
        with self._changed:
            entry = (time.monotonic() + seconds, next(self._numbers), limit)
            heapq.heappush(self._waiting, entry)
            if not self._works:
                self._works = True
                threading.Thread(target=self._work, name="labctl-limits", daemon=True).start()
            elif self._waiting[0] is entry:
                self._changed.notify()
        return limit

    def _work(self) -> None:
        with self._changed:
            while True:
                left = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                _, _, limit = heapq.heappop(self._waiting)
                threading.Thread(target=limit.reach, daemon=True).start()


LIMITS = Limits()
