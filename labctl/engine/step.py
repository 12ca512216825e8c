"""`--step`: the user is asked before each task."""

from __future__ import annotations

import threading

from labctl.engine.interrupt import Stop
from labctl.engine.options import RunOptions


class Stepper:
    """Asks through `options.ask`; after 'c' it lets everything pass."""

    def __init__(self, options: RunOptions, stop: Stop) -> None:
        self._ask = options.ask if options.step else None
        self._stop = stop
        self._lock = threading.Lock()

    def allows(self, task: str) -> bool:
        """Whether to perform the task: the answer is yes, or continue. Anything else means no."""
        with self._lock:
            if self._ask is None:
                return True
            answer = (
                self._ask(f"Perform task: {task} (N)o/(y)es/(c)ontinue", False, self._stop.check)
                .strip()
                .lower()
            )
            if answer in ("c", "continue"):
                self._ask = None
                return True
            return answer in ("y", "yes")
