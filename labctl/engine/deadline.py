"""The end of a task before it has ended by itself: an interrupt of the run, or its time limit.

After either, the first call of a thread raises Interrupted or TaskTimeout, so that the task stops where it is; calls
after that are its own clean-up and go through.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from labctl.engine.interrupt import Stop
from labctl.errors import Interrupted, TaskTimeout, Unreachable


class Calls:
    """The hosts that tasks are waiting for right now, but for what they clean up: an interrupt ends the others."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, host: str) -> None:
        with self._lock:
            self._counts[host] += 1

    def end(self, host: str) -> None:
        with self._lock:
            self._counts[host] -= 1

    @contextmanager
    def to(self, host: str) -> Iterator[None]:
        self.begin(host)
        try:
            yield
        finally:
            self.end(host)

    def hosts(self) -> list[str]:
        with self._lock:
            return [host for host, count in self._counts.items() if count]


class Deadline:
    """The wall clock of one task, and which of its threads have learnt that it must end. `calls` is the
    run's."""

    def __init__(self, stop: Stop, seconds: float | None = None, calls: Calls | None = None) -> None:
        self._stop = stop
        self._calls = calls or Calls()
        self._until = None if seconds is None else time.monotonic() + seconds
        self._told: set[int] = set()
        self._calling: set[int] = set()  # threads, in calls that began before they were told
        self._cleaning = False
        self.seconds = seconds

    @property
    def _knows(self) -> bool:
        return self._cleaning or threading.get_ident() in self._told

    def _tell(self) -> None:
        self._told.add(threading.get_ident())

    @property
    def left(self) -> float | None:
        """Seconds to go; None without a limit, and for the clean-up after one was reached."""
        if self._until is None or self._knows:
            return None
        return max(0.0, self._until - time.monotonic())

    @property
    def over(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until

    def begin_clean_up(self) -> None:
        """From here on calls go through, whatever was asked of the run."""
        self._cleaning = True

    @contextmanager
    def call(self, host: str) -> Iterator[None]:
        """Around everything asked of a host. Raises, once in each thread, Interrupted or TaskTimeout instead
        of what the connection's end looks like, and before the call when it should not be made at all."""
        with nullcontext() if self._knows else self._counted(host):
            self._check()
            try:
                yield
            except Unreachable:
                if end := self._end():  # that is what the end of the connection means
                    raise end from None
                raise

    @contextmanager
    def _counted(self, host: str) -> Iterator[None]:
        thread = threading.get_ident()
        self._calling.add(thread)
        try:
            with self._calls.to(host):
                yield
        finally:
            self._calling.discard(thread)

    @property
    def held_up(self) -> bool:
        """Whether a call keeps a thread from hearing of the end."""
        return bool(self._calling)

    def _check(self) -> None:
        if end := self._end():
            raise end

    def _end(self) -> Interrupted | TaskTimeout | None:
        """Why the task must end, where this thread has not learnt it yet."""
        if self._knows:
            return None
        if self._stop.asked:
            self._tell()
            return Interrupted(self._stop.reason)
        if self.over:
            self._tell()
            return self.timeout()
        return None

    def wait(self, seconds: float) -> None:
        """Sleep; an interrupt or the end of the time ends it, once in each thread."""
        if self._knows:
            time.sleep(seconds)
            return
        try:
            self._stop.wait(seconds if self.left is None else min(seconds, self.left))
        except Interrupted:
            self._tell()
            raise
        self._check()

    def timeout(self) -> TaskTimeout:
        return TaskTimeout(
            f"the task did not end within its timeout of {self.seconds:g} s",
            timedout={"period": int(self.seconds or 0) or self.seconds},
        )


class Watchdog:
    """Ends what a task started when its wall clock runs out, even if the node no longer answers: it drops
    the connection, so that the blocked call returns; what a task that has heard of it cleans up goes on. One thread for
    the whole run."""

    GRACE = 5.0  # seconds the agent gets to report the timeout itself

    def __init__(self, drop: Callable[[str], None]) -> None:
        self._drop = drop
        self._watched: dict[int, tuple[float, Deadline, Sequence[str]]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, deadline: Deadline, hosts: Sequence[str]) -> Iterator[None]:
        """Watch over what is done inside."""
        token = self.watch(deadline, hosts)
        try:
            yield
        finally:
            self.forget(token)

    def watch(self, deadline: Deadline, hosts: Sequence[str]) -> int:
        left = deadline.left
        if left is None:
            return 0
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="labctl-watchdog", daemon=True)
                self._thread.start()
            self._watched[id(deadline)] = (time.monotonic() + left + self.GRACE, deadline, hosts)
            self._changed.notify()
        return id(deadline)

    def forget(self, token: int) -> None:
        if not token:
            return
        with self._changed:
            self._watched.pop(token, None)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _loop(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                nearest = min((at for at, _, _ in self._watched.values()), default=None)
                self._changed.wait(None if nearest is None else max(0.0, nearest - time.monotonic()))
                hosts = list(self._due())
            for host in hosts:
                self._drop(host)

    def _due(self) -> Iterator[str]:
        now = time.monotonic()
        for token in [token for token, (at, _, _) in self._watched.items() if at <= now]:
            _at, deadline, hosts = self._watched.pop(token)
            if deadline.held_up:
                yield from hosts
