"""Stressor of memory: pages that are really there, taken at once or step by step, and held.

Every page is written with bytes that do not compress; while they are held, each is written to once a second, so that none is
swapped out or forgotten unnoticed. Anonymous private memory: what counts as `anon` in a cgroup.
"""

from __future__ import annotations

import mmap
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stress.board import Slot

PAGE = mmap.PAGESIZE
PIECE = 256 << 10  # bytes between two looks at whether to go on; what is held is known to so much
SWEEP = 1.0  # seconds between two writes to a page that is held


class Memory:
    unit = "bytes written"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.size = options["size"]
        self.step = options["step"] or self.size
        self.every = options["every"]
        self.areas: list[mmap.mmap] = []
        self.noise = os.urandom(PIECE)

    def run(self, alive: Callable[[], bool]) -> None:
        held, due = 0, time.monotonic()
        while held < self.size and alive():
            amount = min(self.step, self.size - held)
            try:
                area = mmap.mmap(-1, amount, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except OSError as error:
                self.slot.fail(error, "memory beyond %d bytes" % held)
                break
            self.areas.append(area)
            held = self._fill(area, held, alive)
            due += self.every
            while held < self.size and alive() and time.monotonic() < due:
                time.sleep(min(0.05, max(0.0, due - time.monotonic())))
        while alive():
            begun = time.monotonic()
            self._sweep(alive)
            time.sleep(max(0.0, begun + SWEEP - time.monotonic()))

    def _fill(self, area: mmap.mmap, held: int, alive: Callable[[], bool]) -> int:
        for start in range(0, len(area), PIECE):
            if not alive():
                break
            piece = min(PIECE, len(area) - start)
            area[start : start + piece] = self.noise[:piece]
            held += piece
            self.slot.put(work=piece, held=held)
        return held

    def _sweep(self, alive: Callable[[], bool]) -> None:
        for area in self.areas:
            pages = -(-len(area) // PAGE)
            if not alive():
                return
            area[::PAGE] = os.urandom(pages)
            self.slot.put(work=pages)
