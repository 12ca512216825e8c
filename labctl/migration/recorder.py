"""What a migration has done so far: its phases, timed one after another, and how to take each back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labctl.errors import Interrupted, LabctlError
from labctl.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase; `start` and `end` are seconds since the epoch on the controller's clock."""

    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def _silent(_phase: Phase) -> None:
    pass


@dataclass
class Recorder:
    """Phases do not overlap: one must end before the next begins. What a phase did is taken back by
    `roll_back`, last first, each once, whoever calls it: the strategy that failed, or the end of a run that
    was interrupted (then no further phase begins)."""

    on_phase: Callable[[Phase], None] = _silent
    phases: list[Phase] = field(default_factory=list)
    _undo: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    _busy: threading.RLock = field(default_factory=threading.RLock)
    _cancelled: bool = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        with self._busy:
            if self._cancelled:
                raise Interrupted("the migration was interrupted")
            # Durations by the monotonic clock: a wall clock that is set must not bend them.
            start, begin = time.time(), time.monotonic()
            if self.phases:
                start = max(start, self.phases[-1].end)
            try:
                yield
            finally:
                done = Phase(name, start, start + time.monotonic() - begin)
                self.phases.append(done)
                self.on_phase(done)

    def undo_with(self, what: str, action: Callable[[], object]) -> None:
        """Should the migration fail from here on, `action` takes `what` back; it reads "deleted …"."""
        self._undo.append((what, action))

    def settled(self) -> None:
        """The migration has succeeded: nothing is taken back any more."""
        self._undo.clear()

    @property
    def pending(self) -> bool:
        return bool(self._undo)

    def cancel(self) -> None:
        """No further phase begins."""
        self._cancelled = True

    def roll_back(self) -> tuple[list[str], list[str]]:
        """Take everything back: (what was restored, what could not be and why)."""
        restored: list[str] = []
        failed: list[str] = []
        with self._busy:
            while self._undo:
                what, action = self._undo.pop()
                try:
                    action()
                except LabctlError as error:
                    failed.append(f"{what}: {error.message}")
                else:
                    restored.append(what)
        return restored, failed
