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

_TICK = 0.01  # seconds in which a quick job is expected to end


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
        batch: _Batch[T] = _Batch()
        self._stop.wake = batch.wake
        room = min(self._size, limit if limit and limit > 0 else self._size)
        if quick:
            self._run_quick(batch, jobs, done, room)
        else:
            self._run(batch, jobs, done, room)

    def _run(
        self, batch: _Batch[T], jobs: Sequence[Callable[[], T]], done: Callable[[int, T], None], room: int
    ) -> None:
        waiting = deque(enumerate(jobs))
        flying = 0
        while waiting or flying:
            self._stop.check()
            while waiting and flying < room:
                index, job = waiting.popleft()
                self._submit(batch.wrap(index, job))
                flying += 1
            if batch.ended.empty():
                self._settle()
            outcome = batch.ended.get()
            if outcome is None:
                continue
            flying -= 1
            index, value, error = outcome
            if error is not None:
                raise error
            done(index, value)  # type: ignore[arg-type]

    def _run_quick(
        self, batch: _Batch[T], jobs: Sequence[Callable[[], T]], done: Callable[[int, T], None], room: int
    ) -> None:
        """One thread does them one after the other, which spares a change of threads for each. Where nothing
        ends for a while, because a job waits after all, as many more threads join as there are."""
        waiting = deque(enumerate(jobs))
        ended: deque[tuple[int, T | None, BaseException | None]] = deque()

        def work() -> None:
            while waiting:
                try:
                    index, job = waiting.popleft()
                except IndexError:
                    break
                try:
                    ended.append((index, job(), None))
                except BaseException as error:
                    ended.append((index, None, error))
            batch.wake()

        threads, left = 0, len(jobs)
        try:
            while left:
                more = 0 if ended or not waiting else min(max(1, threads), room - threads)
                for _ in range(more):
                    self._submit(work)
                threads += more
                if not ended:
                    try:
                        batch.ended.get(timeout=_TICK if waiting and threads < room else None)
                    except Empty:
                        self._settle()
                self._stop.check()
                while ended:
                    index, value, error = ended.popleft()
                    if error is not None:
                        raise error
                    left -= 1
                    done(index, value)  # type: ignore[arg-type]
        finally:
            waiting.clear()

    def drain(self, seconds: float) -> bool:
        """Wait for what is still in flight; False when something did not end in time."""
        until = time.monotonic() + seconds
        with self._count:
            return self._count.wait_for(lambda: not self._busy, max(0.0, until - time.monotonic()))

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)

    def _submit(self, job: Callable[[], None]) -> None:
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
    """One call of `run`. SimpleQueue.put may be called from a signal handler."""

    def __init__(self) -> None:
        self.ended: SimpleQueue[tuple[int, T | None, BaseException | None] | None] = SimpleQueue()

    def wake(self) -> None:
        self.ended.put(None)

    def wrap(self, index: int, job: Callable[[], T]) -> Callable[[], None]:
        def call() -> None:
            try:
                value = job()
            except BaseException as error:
                self.ended.put((index, None, error))
            else:
                self.ended.put((index, value, None))

        return call
