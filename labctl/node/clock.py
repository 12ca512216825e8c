"""How far a node's clock is from the controller's: Cristian's method (Probabilistic clock synchronization, 1989)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

CLOSE = 0.0005  # seconds
_MOST = 10  # exchanges
_ENOUGH, _ALIKE = 3, 1.1  # exchanges that take the same time, but for a tenth: none of them has waited


class Clock:
    """Thread-safe. An exchange with the node gives how many seconds it took, and how far ahead the node's clock was if
    both ways took as long: wrong by half of what it took at the most."""

    def __init__(self, exchange: Callable[[], tuple[float, float]]) -> None:
        self._exchange = exchange
        self._told: list[tuple[float, float]] = []
        self._tried = math.inf  # the least error that was asked for
        self._lock = threading.Lock()

    def offset(self, error: float) -> float:
        """Seconds that the node's clock is ahead, wrong by `error` at the most; where that cannot be had, as the fastest
        of up to ten exchanges has it. Remembered."""
        with self._lock:
            while error < self._tried and not self._known(error):
                self._told = sorted([*self._told, self._exchange()])
            self._tried = min(error, self._tried)
            return self._told[0][1]

    def _known(self, error: float) -> bool:
        told = self._told
        if len(told) >= _MOST or (told and told[0][0] <= 2 * error):
            return True
        return len(told) >= _ENOUGH and told[_ENOUGH - 1][0] < told[0][0] * _ALIKE
