"""What workers tell: numbers in shared memory, one row for each, and sentences through a pipe.

A worker writes its own row and nobody else's; a number is eight aligned bytes, so whoever reads meanwhile sees the old or the
new one. A row outlives its worker: what was done until a SIGKILL is still there.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct

ROW = struct.Struct("=3d")


class Board:
    def __init__(self, rows: int) -> None:
        self.memory = mmap.mmap(-1, max(1, rows) * ROW.size)
        self.memory[:] = bytes(len(self.memory))  # the pages are charged to whoever touches them first
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.partial = b""

    def row(self, index: int) -> tuple[float, float, float]:
        """(work, checked, held) of a worker."""
        return ROW.unpack_from(self.memory, index * ROW.size)

    def messages(self) -> list[dict[str, object]]:
        """What workers said since the last time."""
        while True:
            try:
                data = os.read(self.reading, 65536)
            except BlockingIOError:
                break
            if not data:
                break
            self.partial += data
        *lines, self.partial = self.partial.split(b"\n")
        return [json.loads(line) for line in lines]


class Slot:
    """A worker's place on the board.

    work      units done since it began (its stressor says which)
    checked   bytes read back and found right, or received
    held      what it holds now: bytes, processes, descriptors"""

    def __init__(self, board: Board, index: int) -> None:
        self.board = board
        self.index = index
        self.work = self.checked = self.held = 0.0

    def put(self, work: float = 0.0, checked: float = 0.0, held: float | None = None) -> None:
        """Add work done and checked, and say what is held."""
        self.work += work
        self.checked += checked
        if held is not None:
            self.held = held
        ROW.pack_into(self.board.memory, self.index * ROW.size, self.work, self.checked, self.held)

    def tell(self, **values: object) -> None:
        """Say something; a line of less than PIPE_BUF bytes is never mixed with another's."""
        os.write(self.board.writing, json.dumps({"worker": self.index, **values}).encode() + b"\n")

    def fail(self, error: OSError, what: str) -> None:
        """Say that the kernel refused something."""
        name = errno.errorcode.get(error.errno or 0, "EIO")
        self.tell(error="%s: %s" % (what, error.strerror or error), errno=name)
