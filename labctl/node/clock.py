"""How far a node's clock is from the controller's: Cristian's method (Probabilistic clock synchronization, 1989)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from labctl.errors import LabctlError

CLOSE = 0.0005  # seconds
_MOST = 10  # exchanges
_ENOUGH, _ALIKE = 3, 1.1  # exchanges that take the same time, but for a tenth: none of them has waited


class Clock:
    """Thread-safe. `begin` begins an exchange with the node, and gives what waits for its end: how many seconds it took, and
    how far ahead the node's clock was if both ways took as long. That is wrong by half of what it took at the most."""

    def __init__(self, begin: Callable[[], Callable[[], tuple[float, float]]]) -> None:
        self._begin = begin
        self._told: list[tuple[float, float]] = []
        self._tried = math.inf  # the least error that was asked for
        self._lock = threading.Lock()

    def offset(self, error: float, meanwhile: Callable[[], None] = lambda: None) -> float:
        """Seconds that the node's clock is ahead, wrong by `error` at the most; where that cannot be had, as the fastest
        of up to ten exchanges has it. Remembered. `meanwhile` is done once, while the first is under way."""
        with self._lock:
            first = [] if self._is_told(error) else [self._begin()]
            try:
                meanwhile()
            except BaseException:
                with suppress(LabctlError):  # what is raised says more
                    self._note(first)
                raise
            self._note(first)
            while not self._is_told(error):
                few = max(1, _ENOUGH - len(self._told))
                self._note([self._begin() for _ in range(few)])
            self._tried = min(error, self._tried)
            return self._told[0][1]

    def _note(self, under_way: Iterable[Callable[[], tuple[float, float]]]) -> None:
        self._told = sorted([*self._told, *(told() for told in under_way)])

    def _is_told(self, error: float) -> bool:
        return error >= self._tried or self._known(error)

    def _known(self, error: float) -> bool:
        told = self._told
        if len(told) >= _MOST or (told and told[0][0] <= 2 * error):
            return True
        return len(told) >= _ENOUGH and told[_ENOUGH - 1][0] < told[0][0] * _ALIKE
