"""Threads that run one job per host, while the main thread stays free for signals and bookkeeping."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from labctl.engine.interrupt import Stop

T = TypeVar("T")

TICK = 0.01  # seconds in which a quick job is expected to end, and results are looked for
LONGEST_TICK = 0.1  # the same, after a while without any


class Pool:
    """At most `size` jobs at once, over daemon threads made as they are needed: a thread that hangs on a
    dead node cannot keep the program from ending. `settle` is called before jobs start, and whenever there is
    nothing to do but wait for one."""

    def __init__(self, size: int, stop: Stop, settle: Callable[[], None]) -> None:
        self._size = max(1, size)
        self._stop = stop
        self._settle = settle
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._count = threading.Condition()

    def run(
        self,
        jobs: Sequence[Callable[[], T]],
        done: Callable[[int, T], None],
        *,
        limit: int | None = None,
        quick: bool = False,
    ) -> None:
        """Run every job; `done(index, value)` is called here, in the calling thread, as each one ends.
        `limit` lowers how many run at once; `quick` jobs compute and hardly wait. Raises the first exception of
        a job, and Interrupted when the run is asked to stop: what is in flight then goes on in the background
        until `drain`."""
        self._settle()
        batch = _Batch(jobs)
        self._stop.wake = batch.wake
        room = min(self._size, limit if limit and limit > 0 else self._size, len(jobs))
        threads, left, tick = 0, len(jobs), TICK
        still = True  # nothing has ended for a tick
        try:
            while left:
                if still and batch.waiting and threads < room:
                    # Quick jobs share a thread, which spares a change of threads for each. Where nothing ends for
                    # a while, because one waits after all, as many more join as there are.
                    more = min(max(1, threads), room - threads) if quick else room - threads
                    for _ in range(more):
                        self.begin(batch.work)
                    threads += more
                still = not batch.await_end(tick)
                tick = min(2 * tick, LONGEST_TICK) if still else TICK
                if still:
                    self._settle()
                self._stop.check()
                while batch.ended:
                    index, value, error = batch.ended.popleft()
                    if error is not None:
                        raise error
                    left -= 1
                    done(index, value)  # type: ignore[arg-type]
        finally:
            batch.waiting.clear()

    def drain(self, seconds: float) -> bool:
        """Wait for what is still in flight; False when something did not end in time."""
        until = time.monotonic() + seconds
        with self._count:
            return self._count.wait_for(lambda: not self._busy, max(0.0, until - time.monotonic()))

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)

    def begin(self, job: Callable[[], None]) -> None:
        """Run one job without waiting for it; it must not raise. `drain` waits for it."""
        with self._count:
            self._busy += 1
            if self._busy > len(self._threads):
                name = f"labctl-{len(self._threads) + 1}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            finally:
                with self._count:
                    self._busy -= 1
                    self._count.notify_all()


class Inline:
    """As Pool, one job after the other in the calling thread."""

    def __init__(self, stop: Stop, settle: Callable[[], None]) -> None:
        self._stop = stop
        self._settle = settle

    def run(
        self,
        jobs: Sequence[Callable[[], T]],
        done: Callable[[int, T], None],
        *,
        limit: int | None = None,  # noqa: ARG002 - Pool's signature
        quick: bool = False,  # noqa: ARG002
    ) -> None:
        for index, job in enumerate(jobs):
            self._stop.check()
            self._settle()
            done(index, job())


class _Batch(Generic[T]):
    """The jobs of one call of `run`. Threads take them from `waiting`. The thread that takes results out of `ended` is
    woken when there are no more to come, and looks by itself before: a wake for each would cost more than a job."""

    def __init__(self, jobs: Sequence[Callable[[], T]]) -> None:
        self.waiting = deque(enumerate(jobs))
        self.ended: deque[tuple[int, T | None, BaseException | None]] = deque()
        self._left = len(jobs)
        self._lock = threading.Lock()
        self._woken: SimpleQueue[None] = SimpleQueue()  # its `put` may be called from a signal handler

    def wake(self) -> None:
        self._woken.put(None)

    def await_end(self, seconds: float) -> bool:
        """Wait until all jobs have ended, something wakes us, or the time is over. Whether anything has ended."""
        try:
            self._woken.get(timeout=seconds)
        except Empty:
            pass
        return bool(self.ended)

    def work(self) -> None:
        while self.waiting:
            try:
                index, job = self.waiting.popleft()
            except IndexError:
                return
            failed = False
            try:
                self.ended.append((index, job(), None))
            except BaseException as error:
                failed = True
                self.ended.append((index, None, error))
            with self._lock:
                self._left -= 1
                last = not self._left
            if last or failed:
                self.wake()
