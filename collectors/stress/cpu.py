"""Stressor of processors: integer or matrix arithmetic for a share of each period, measured in CPU time.

The share is of one processor. It is kept by the process's own CPU clock, not by the wall clock, so that a worker that had
to wait for its turn still uses what it was asked to; it makes up for one period at most, and takes off what a round was too long.
"""

from __future__ import annotations

import time
from operator import mul

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stress.board import Slot

PERIOD = 0.05  # seconds
STEPS = 250
SIDE = 8
MASK = (1 << 64) - 1
ROWS = [[float(row * SIDE + column) for column in range(SIDE)] for row in range(SIDE)]
COLUMNS = [[row[column] for row in ROWS] for column in range(SIDE)]


def integer(state: int = 1) -> int:
    """250 steps of a linear congruential generator (Knuth's MMIX constants), about 0.1 ms."""
    for _ in range(STEPS):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
    return state


def matrix() -> list[list[float]]:
    """A matrix of 8 by 8 doubles squared, in plain Python, about 0.1 ms."""
    return [[sum(map(mul, row, column)) for column in COLUMNS] for row in ROWS]


METHODS = {"integer": integer, "matrix": matrix}


class Cpu:
    unit = "rounds"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.round: Callable[[], object] = METHODS[options["method"]]
        self.load = options["load"]

    def run(self, alive: Callable[[], bool]) -> None:
        wall, cpu, one = time.monotonic, time.process_time, self.round
        share = self.load * PERIOD
        owed, due = 0.0, wall()
        while alive():
            begun, rounds, due = cpu(), 0, due + PERIOD
            until = begun + share + owed
            while cpu() < until and wall() < due:
                one()
                rounds += 1
            self.slot.put(work=rounds)
            owed = min(share, until - cpu())
            pause = due - wall()
            if pause > 0:
                time.sleep(pause)
            else:
                due = wall()
