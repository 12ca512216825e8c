"""Events as JSON lines on a stream, for other programs: {"event", "time", "play", "task", "host", "data"}."""

from __future__ import annotations

import json
from typing import Any, TextIO

from labctl.console.out import Out
from labctl.events import Event


class JsonLines:
    """Subscriber that writes one JSON object per event."""

    def __init__(self, stream: TextIO) -> None:
        self._out = Out(stream)
        self.flush = self.close = self._out.flush
        self._encode = json.JSONEncoder(default=_plain).encode

    def __call__(self, event: Event) -> None:
        record: dict[str, Any] = {"event": str(event.kind), "time": event.time}
        for name in ("play", "task", "host"):
            if (value := getattr(event, name)) is not None:
                record[name] = value
        record["data"] = event.data
        self._out(self._encode(record))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    try:
        return dict(value)
    except (TypeError, ValueError):
        return list(value) if isinstance(value, set | frozenset | tuple) else str(value)
