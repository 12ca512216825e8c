"""The journal of a search for a limit: steps as the node reported them, and what they say.

One file holds one search: a line that says what is looked for, then for each step a line before it begins and
one after it has ended. docs/notebook-limits.md shows them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labctl.measure.boundary import Outcome

CONTROLLER_LOST = "controller lost"
SHORT = "short"  # less was achieved than was asked for, and no errno says why
FREE = 0.95  # of the processors it could have used, a step got at least so much where nobody crowded it
THROTTLED = 5.0  # per cent of the step's time: below it a quota holds nobody back
_ERRNO = {"ENOSPC": "enospc", "EDQUOT": "enospc", "ENOMEM": "oom", "EAGAIN": "pids", "EMFILE": "fds"}


@dataclass(frozen=True, slots=True)
class Tried:
    """One step: its place in the search, and the node's record of it (None: it never ended, the controller was
    lost). `began` and `ended` are seconds since the epoch on the controller's clock. `processors`: how many the node has."""

    repetition: int
    number: int
    phase: str
    requested: int
    began: float | None
    ended: float | None = None
    record: Mapping[str, Any] | None = None
    processors: float | None = None

    def value(self, *path: str) -> float | None:
        """A number of the record, None where it was not measured."""
        found: Any = self.record
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    @property
    def death(self) -> Mapping[str, Any] | None:
        found = (self.record or {}).get("death")
        return found if isinstance(found, Mapping) else None

    @property
    def cause(self) -> str | None:
        """Why the step was bad, None when it was good."""
        if self.record is None:
            return CONTROLLER_LOST
        if self.death is not None:
            return str(self.death.get("cause") or "exit")
        error = self.record.get("error")
        if error:
            errno = str(error.get("errno") if isinstance(error, Mapping) else error)
            return _ERRNO.get(errno, errno.lower())
        if not self.record.get("survived"):
            return "exit"
        achieved = self.value("achieved")
        return SHORT if achieved is not None and achieved < self.requested else None

    @property
    def good(self) -> bool:
        return self.cause is None

    @property
    def in_use(self) -> float | None:
        """What was in use of the limit, as a share. Of memory that which cannot be taken back (anonymous, shared, the
        kernel's): with page cache, a limit would always be all in use."""
        limit = self.value("limit")
        parts = [self.value("memory", part) for part in ("anon", "shmem", "kernel")]
        if limit and parts[0] is not None and (self.record or {}).get("resource") == "memory":
            return sum(part or 0 for part in parts) / limit
        percent = self.value("pct_of_limit")
        return None if percent is None else percent / 100

    @property
    def crowded(self) -> bool:
        """Whether others used the processors, so that the figures say nothing of the limit: processes that compute got
        less than they could have used, under a quota of so many cores on so many processors; or they would have gone
        beyond the quota, did not, and were not held back by it either."""
        used, quota, held = (self.value(name) for name in ("usage", "limit", "throttled_pct"))
        if (self.record or {}).get("resource") != "cpu" or not self.good or used is None:
            return False
        wanted = min(self.requested, self.processors or self.requested)
        if used < FREE * min(wanted, quota or wanted):
            return True
        if not quota or held is None or held >= THROTTLED:
            return False
        return FREE * wanted > quota > FREE * used

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.requested, self.good, self.cause, self.crowded)


@dataclass
class Search:
    """A journal as it was read. `head`: its first line ({} where there is none). `notes`: its other lines, by
    event, in order. `unreadable`: lines that are no JSON objects, a cut last one aside."""

    head: Mapping[str, Any] = field(default_factory=dict)
    steps: list[Tried] = field(default_factory=list)
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    unreadable: int = 0

    @property
    def resource(self) -> str:
        return str(self.head.get("resource") or "?")

    def of(self, repetition: int) -> list[Tried]:
        return [step for step in self.steps if step.repetition == repetition]

    @property
    def repetitions(self) -> list[int]:
        return sorted({step.repetition for step in self.steps})

    def note(self, event: str, **wanted: Any) -> Mapping[str, Any] | None:
        """The last line of this event with these values."""
        found = [
            n for n in self.notes if n["event"] == event and all(n.get(k) == v for k, v in wanted.items())
        ]
        return found[-1] if found else None


def read_search(lines: Iterable[str]) -> Search:
    """Read a journal. A step that begins and never ends has no record; one that was begun again is a step of its
    own."""
    search = Search()
    pending: Mapping[str, Any] | None = None
    texts = [line for line in lines if line.strip()]
    for position, line in enumerate(texts, 1):
        event = _event(line)
        if event is None:
            search.unreadable += position < len(texts)
            continue
        kind = event["event"]
        if kind == "search":
            search.head = search.head or event
        elif kind == "begin":
            _lost(search, pending)
            pending = event
        elif kind == "end" and pending is not None:
            record = event.get("record")
            ended = event.get("wall"), record if isinstance(record, dict) else {}
            search.steps.append(_tried(search, pending, *ended))
            pending = None
        else:
            search.notes.append(event)
    _lost(search, pending)
    return search


def _event(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("event"), str) else None


def _lost(search: Search, begun: Mapping[str, Any] | None) -> None:
    if begun is not None:
        search.steps.append(_tried(search, begun, None, None))


def _tried(search: Search, begun: Mapping[str, Any], ended: Any, record: Mapping[str, Any] | None) -> Tried:
    processors = (search.head.get("capacity") or {}).get("cpus")
    return Tried(
        int(begun.get("repetition") or 1),
        int(begun.get("step") or 0),
        str(begun.get("phase") or "?"),
        int(begun.get("requested") or 0),
        begun.get("wall"),
        ended,
        record,
        float(processors) if isinstance(processors, int | float) else None,
    )
