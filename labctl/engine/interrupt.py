"""Ctrl-C, SIGTERM and a closed terminal: the first asks the run to end in order, the second ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from labctl.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether the run has been asked to end, and by what.

    `wake` is called from the signal handler, so it may only do what is safe there."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.reason = "interrupted"
        self.wake: Callable[[], None] = lambda: None

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self, reason: str = "interrupted") -> None:
        self.reason = reason
        self._asked.set()
        self.wake()

    def wait(self, seconds: float) -> None:
        """Sleep, or raise Interrupted as soon as the run is asked to end."""
        if self._asked.wait(seconds):
            raise Interrupted(self.reason)

    def check(self) -> None:
        if self._asked.is_set():
            raise Interrupted(self.reason)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Catch SIGINT and SIGTERM while the block runs. Only the main thread can; elsewhere no-op."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # What is ignored stays so: nohup, background jobs of a shell.
        wanted = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._handle) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._asked.is_set():
            if os.isatty(1):
                os.write(1, b"\x1b[?25h")  # the live console hides the cursor
            # Agents see their connection end and kill what they started, as after SIGKILL.
            os.write(2, b"\nlabctl: stopped at once; the agents on the nodes end what they started\n")
            os._exit(130)
        self.ask(
            "interrupted by Ctrl-C"
            if number == signal.SIGINT
            else f"stopped by {signal.Signals(number).name}"
        )
