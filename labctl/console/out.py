"""Lines to a stream whose reader may go away."""

from __future__ import annotations

import os
from typing import TextIO


class Out:
    """Collects lines; `flush` writes them at once. When nobody reads on (`labctl run … | head`), the run goes
    on all the same, and the journal has it all."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        self._lines.append(line)

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        try:
            if lines:
                self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
