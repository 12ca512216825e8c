"""Lines that are collected, and shown at once when the run is about to wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TextIO


class Lines:
    """Collects lines; `flush` gives them to `show` as one text, without its last newline."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._lines: list[str] = []

    def __call__(self, line: str) -> None:
        self._lines.append(line)

    def flush(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._show("\n".join(lines))


class Out(Lines):
    """Writes them to a stream. When nobody reads on (`labctl run … | head`), the run goes on all the same, and
    the journal has it all."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(lambda text: print(text, file=stream))
        self._stream = stream

    def flush(self) -> None:
        try:
            super().flush()
            self._stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
