"""Stressors of what is counted: processes (pids.max, ulimit -u) and open files (ulimit -n, fs.file-max).

Each takes one after the other until it has as many as it was asked for, or the kernel says no; then it holds them. What the
kernel said is its error (EAGAIN, EMFILE, ENFILE): to be told no is what these are for, so it is no failure.
"""

from __future__ import annotations

import os
import resource
import signal
import time

from stress.processes import end_with, offer_to_the_oom_killer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stress.board import Slot


def _hold(alive: Callable[[], bool]) -> None:
    while alive():
        time.sleep(0.1)


class Pids:
    """Processes that do nothing but be there."""

    unit = "processes"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.count = options["count"]

    def run(self, alive: Callable[[], bool]) -> None:
        me, made = os.getpid(), 0
        while alive() and (self.count is None or made < self.count):
            try:
                child = os.fork()
            except OSError as error:
                self.slot.fail(error, "process %d" % (made + 1))
                break
            if child == 0:
                end_with(me)
                offer_to_the_oom_killer()
                while os.getppid() == me:
                    signal.sigtimedwait([], 5.0)
                os._exit(0)
            made += 1
            self.slot.put(work=1, held=made)
        _hold(alive)


class Fds:
    """Descriptors of one file."""

    unit = "descriptors"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.count = options["count"]

    def run(self, alive: Callable[[], bool]) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        made = 0
        while alive() and (self.count is None or made < self.count):
            try:
                os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                self.slot.fail(error, "descriptor %d" % (made + 1))
                break
            made += 1
            self.slot.put(work=1, held=made)
        _hold(alive)
