"""The same lines as plain.py, above a status area that says what runs where and since when."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from labctl.console.out import Lines
from labctl.console.plain import PlainConsole
from labctl.console.text import clean, duration
from labctl.events import Event, Kind
from labctl.records import dataclass

_ROWS = 8  # hosts shown; the rest are counted


@dataclass(frozen=True, slots=True)
class _Running:
    task: str
    since: float
    message: str = ""
    fraction: float | None = None


class LiveConsole:
    """Subscriber for a terminal. Scrolled lines come from PlainConsole; rich draws the status area."""

    def __init__(self, *, verbosity: int = 0, colour: bool = True) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._text = Text
        self._console = Console(highlight=False, no_color=not colour)
        self._running: dict[str, _Running] = {}
        self._task = ""
        self._began = time.time()
        self._lock = threading.Lock()
        self._closed = False
        self._live = Live(
            get_renderable=self._status, console=self._console, refresh_per_second=6, transient=True
        )
        self._lines = Lines(self._print)  # each print draws the status area anew
        self._plain = PlainConsole(self._lines, verbosity=verbosity, colour=colour, width=self._console.width)
        self._live.start()

    def __call__(self, event: Event) -> None:
        self._follow(event)
        if event.kind is not Kind.PROGRESS or event.host is None:
            self._plain(event)

    def flush(self) -> None:
        self._lines.flush()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._plain.close()
            self._live.stop()

    def _print(self, text: str) -> None:
        self._console.print(self._text.from_ansi(text), soft_wrap=True)

    def _follow(self, event: Event) -> None:
        with self._lock:
            if event.kind is Kind.TASK_START:
                self._task = str(event.data.get("name") or event.task or "")
            elif event.kind is Kind.HOST_START and event.host:
                self._running[event.host] = _Running(event.task or self._task, event.time)
            elif event.kind is Kind.PROGRESS and event.host in self._running:
                self._running[event.host] = replace(
                    self._running[event.host],
                    message=str(event.data.get("message", "")),
                    fraction=event.data.get("fraction"),
                )
            elif event.kind is Kind.OUTPUT and event.host in self._running:
                lines = clean(str(event.data.get("text", ""))).strip().splitlines()
                if lines:
                    self._running[event.host] = replace(self._running[event.host], message=lines[-1])
            elif event.kind is Kind.RESULT and event.host:
                self._running.pop(event.host, None)
            elif event.kind in (Kind.STATS, Kind.RUN_END):
                self._running.clear()

    def _status(self) -> Any:
        from rich.console import Group

        with self._lock:
            running = dict(self._running)
        now = time.time()
        rows = []
        for host, state in list(running.items())[:_ROWS]:
            text = self._text(f" {duration(now - state.since):>8}  ", style="cyan", no_wrap=True)
            text.append(host, style="bold")
            text.append(f"  {state.task}")
            if state.fraction is not None:
                done = max(0, min(20, round(state.fraction * 20)))
                text.append(f"  [{'#' * done}{'.' * (20 - done)}] {state.fraction:4.0%}", style="green")
            if state.message:
                text.append(f"  {state.message}", style="dim")
            text.truncate(self._console.width, overflow="ellipsis")
            rows.append(text)
        if len(running) > _ROWS:
            rows.append(self._text(f"           and {len(running) - _ROWS} more hosts", style="dim"))
        return Group(*rows)
