"""One line for each task: who is ok, who changed, who was skipped. Failures and the recap as in plain.py."""

from __future__ import annotations

from collections.abc import Callable

from labctl.console.plain import PlainConsole
from labctl.console.text import result_lines
from labctl.events import Event, Kind, Status

_LISTED = 4  # hosts named for a status; more are counted
_ORDER = list(Status)
_BAD = (Status.FAILED, Status.UNREACHABLE, Status.IGNORED, Status.RESCUED)


class DenseConsole(PlainConsole):
    """Subscriber that writes a task's line when its last host is done."""

    def __init__(
        self, write: Callable[[str], None], *, verbosity: int = 0, colour: bool = False, width: int = 80
    ) -> None:
        super().__init__(write, verbosity=verbosity, colour=colour, width=width)
        self._label = ""
        self._waiting = 0
        self._outcomes: dict[Status, list[str]] = {}
        self._below: list[Event] = []

    def __call__(self, event: Event) -> None:
        if event.kind in (Kind.PLAY_START, Kind.STATS, Kind.RUN_END, Kind.TASK_START, Kind.INCLUDE):
            self._finish()
        super().__call__(event)

    def _on_play_start(self, event: Event) -> None:
        self._write(self._paint("head", f"PLAY {event.data.get('name') or ''}"))

    def _on_task_start(self, event: Event) -> None:
        super()._on_task_start(event)
        self._waiting = self._hosts_left

    def _task_banner(self, event: Event) -> None:
        self._task = event.task
        word = "handler " if event.data.get("handler") else ""
        self._label = f"{word}{event.data.get('name') or event.task or ''}"

    def _on_include(self, event: Event) -> None:
        pass

    def _on_item(self, event: Event) -> None:
        if Status(event.data["status"]) in (Status.FAILED, Status.UNREACHABLE):
            super()._on_item(event)

    def _on_result(self, event: Event) -> None:
        self._under(event)
        status = Status(event.data["status"])
        seconds = event.data.get("seconds") or 0
        took = f" {seconds:.1f}s" if seconds >= 1 else ""
        self._outcomes.setdefault(status, []).append(f"{event.host}{took}")
        if status in _BAD or (event.data.get("action") == "debug" and status is Status.OK):
            self._below.append(event)
        self._waiting -= 1
        if self._waiting <= 0:
            self._finish()

    def _finish(self) -> None:
        """Write the line of the task that is open, and below it what its hosts have to say."""
        if not self._outcomes:
            return
        cells = []
        for status, hosts in sorted(self._outcomes.items(), key=lambda pair: _ORDER.index(pair[0])):
            more = f" +{len(hosts) - _LISTED}" if len(hosts) > _LISTED else ""
            cells.append(self._paint(str(status), f"{status}: {' '.join(hosts[:_LISTED])}{more}"))
        room = max(24, self._width // 2)
        label = self._label if len(self._label) <= room else f"{self._label[: room - 1]}…"
        self._write(f"  {label.ljust(room)}  {'  '.join(cells)}")
        self._outcomes = {}
        self._say([event for event in self._below if Status(event.data["status"]) is Status.OK])
        for event in self._below:
            if Status(event.data["status"]) is not Status.OK:
                super()._on_result(event)
        self._below = []
        self._flush_bad()

    def _say(self, events: list[Event]) -> None:
        """What `debug` has to say, once where it is the same on several hosts."""
        said: dict[tuple[str, ...], list[str]] = {}
        for event in events:
            result = event.data.get("result") or {}
            turns = result.get("results") or [result]
            lines = [line for turn in turns for line in result_lines(turn, everything=True, indent=0)]
            said.setdefault(tuple(lines), []).append(str(event.host))
        for text, hosts in said.items():
            for line in text:
                self._write(f"    {' '.join(hosts[:_LISTED])} | {line}")
