"""What happened, as data. The engine emits events; renderers and the journal subscribe.

No other room prints. An event is one flat record, so that a journal line, a JSON line on stdout and
a live console all read the same thing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any


class Kind(StrEnum):
    """Every kind of event, with the keys its `data` holds."""

    RUN_START = "run_start"  # playbook, inventory, run_dir, argv, check
    PLAY_START = "play_start"  # name, hosts
    TASK_START = "task_start"  # name, action, path (file:line), handler (bool), hosts
    HOST_START = "host_start"  # a host began the current task; not told of what only computes
    OUTPUT = "output"  # stream ('stdout'|'stderr'), text: live output of a running command
    PROGRESS = "progress"  # message, fraction (0..1 or None): long work says where it is
    ITEM = "item"  # status, label, result, seconds, action: one turn of a loop ended
    RETRY = "retry"  # attempt, retries, delay, result: `until` was not yet true
    RESULT = "result"  # status, result (dict), seconds, action, diff, changes (list of str); unknown (why),
    #                    delegated (host); of a failure: mark ("file:line:column"), excerpt (the marked line)
    NOTIFY = "notify"  # handler
    INCLUDE = "include"  # file
    PHASE = "phase"  # subject, name, seconds, detail: a measured phase (a migration's, the lab's)
    WARNING = "warning"  # message, mark
    MESSAGE = "message"  # message: something a user should see once
    STATS = "stats"  # hosts: {host: {ok, changed, unreachable, failed, skipped, rescued, ignored, unknown}}
    RUN_END = "run_end"  # exit_code, seconds, run_dir, undone (list of str after an interrupt), self (cost)


class Status(StrEnum):
    """How a task ended on one host. `UNKNOWN` exists in a dry run only."""

    OK = "ok"
    CHANGED = "changed"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    RESCUED = "rescued"
    IGNORED = "ignored"


@dataclass(slots=True)
class Event:
    """One thing that happened; nobody alters it. `time` is seconds since the epoch, on the controller's clock."""

    kind: Kind
    data: Mapping[str, Any] = field(default_factory=dict)
    play: str | None = None
    task: str | None = None
    host: str | None = None
    time: float = field(default_factory=time.time)


Subscriber = Callable[[Event], None]

# What the engine emits in bursts; it settles the bus whenever it has to wait.
_HELD = frozenset({Kind.TASK_START, Kind.HOST_START, Kind.RESULT, Kind.NOTIFY, Kind.INCLUDE})


class Bus:
    """Hands each event to every subscriber, one event at a time, in the order emitted. A subscriber with a
    method `flush` may hold back what it writes of a burst until that is called; one with a method `burst` is given
    events that come together as a sequence."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._bursts: list[Callable[[Sequence[Event]], None]] = []
        self._flushes: list[Callable[[], None]] = []
        self._held = False
        self._lock = threading.RLock()
        self.mask: Callable[[Event], Event] | None = None  # takes out what must not be shown

    def subscribe(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers.append(subscriber)
            self._bursts.append(getattr(subscriber, "burst", None) or partial(_each, subscriber))
            if (flush := getattr(subscriber, "flush", None)) is not None:
                self._flushes.append(flush)

    def emit(
        self,
        kind: Kind,
        /,
        *,
        play: str | None = None,
        task: str | None = None,
        host: str | None = None,
        **data: Any,
    ) -> None:
        event = Event(kind, data, play, task, host, time.time())
        if self.mask is not None:
            event = self.mask(event)
        with self._lock:
            for subscriber in self._subscribers:
                subscriber(event)
            self._held = True
            if kind not in _HELD:
                self.settle()

    def burst(self, events: Sequence[Event]) -> None:
        """Emit events, in this order, of kinds that the engine emits in bursts."""
        if self.mask is not None:
            events = [self.mask(event) for event in events]
        with self._lock:
            for take in self._bursts:
                take(events)
            self._held = True

    def settle(self) -> None:
        """Have written what was held back: the engine is about to wait."""
        if self._held:
            with self._lock:
                self._held = False
                for flush in self._flushes:
                    flush()


def _each(subscriber: Subscriber, events: Sequence[Event]) -> None:
    for event in events:
        subscriber(event)
