"""Events as JSON lines on a stream, for other programs: {"event", "time", "play", "task", "host", "data"}."""

from __future__ import annotations

import json
import os
from typing import Any, TextIO

from labctl.events import Event


class JsonLines:
    """Subscriber that writes one JSON object per event and flushes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        record: dict[str, Any] = {"event": str(event.kind), "time": event.time}
        for name in ("play", "task", "host"):
            if (value := getattr(event, name)) is not None:
                record[name] = value
        record["data"] = event.data
        try:
            self._stream.write(json.dumps(record, default=_plain) + "\n")
            self._stream.flush()
        except BrokenPipeError:
            # Nobody reads on: the run goes on all the same, and the journal has it all.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def close(self) -> None:
        self._stream.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    try:
        return dict(value)
    except (TypeError, ValueError):
        return list(value) if isinstance(value, set | frozenset | tuple) else str(value)
