"""The journal of a search: every line is on the disk before what it announces begins."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labctl.measure.limit_steps import Search, read_search


class Journal:
    """Lines are appended and fsync'd one by one. Closing it closes the file only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name, too
        finally:
            os.close(folder)
        self._end_last_line()

    def _end_last_line(self) -> None:
        """A controller that was killed while it wrote leaves half a line: it stays, on a line of its own."""
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def write(self, event: str, **values: Any) -> None:
        line = {"event": event, "wall": time.time(), **values}
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)

    def read(self) -> Search:
        """What it holds so far."""
        return read_search(self.path.read_text(encoding="utf-8", errors="replace").splitlines())
