"""Who reads the connections of agents: one thread for all of them, and the one that waits for their answers where it can.

A thread for each connection would wake up for each answer only to wake up the one that waits for it: two changes of
threads, and two of Python's lock. Where the walk through a play waits for the answers of all hosts, it reads them
itself. Otherwise a thread of this room does, as soon as somebody waits for an answer, and at the latest after a second.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

# Seconds until what nobody waits for is read, and until somebody stands in for who has claimed it.
_LOOK_UP = 1.0
POSSIBLE = hasattr(select, "epoll") and hasattr(os, "eventfd")


class Duty:
    """Thread-safe. A connection's `ready` is called, by one thread at a time, when there is something to read. It must not
    wait for anything, nor raise."""

    def __init__(self) -> None:
        self._ready: dict[int, Callable[[], None]] = {}
        self._turn = threading.Lock()  # of whoever reads
        self._state = threading.Lock()
        self._waiters = 0
        self._wanted = threading.Event()
        self._claimed = False
        self._asleep = False  # whoever has claimed it, until something is in its queue
        self._epoll: select.epoll | None = None
        self._bell = -1

    def add(self, fd: int, ready: Callable[[], None]) -> None:
        with self._state:
            if self._epoll is None:
                self._epoll = select.epoll()
                self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                self._epoll.register(self._bell, select.EPOLLIN)
                threading.Thread(target=self._work, name="labctl-duty", daemon=True).start()
            self._epoll.register(fd, select.EPOLLIN)
            self._ready[fd] = ready

    def remove(self, fd: int) -> None:
        with self._state:
            if self._epoll is not None and self._ready.pop(fd, None) is not None:
                self._epoll.unregister(fd)

    @contextmanager
    def waited_for(self) -> Iterator[None]:
        """Somebody waits for what a connection brings."""
        with self._state:
            self._waiters += 1
        if not self._turn.locked():
            self._wanted.set()
        try:
            yield
        finally:
            with self._state:
                self._waiters -= 1

    # ------------------------------------------------------------ reading for oneself

    def claim(self) -> bool:
        """Read for itself until `release`, by `read_for`; whether there is anything to read, and nobody else claims it."""
        with self._state:
            if self._claimed or not self._ready:
                return False
            self._claimed = True
        if self._turn.locked():
            self._ring()
        return True

    def release(self) -> None:
        self._claimed = False
        if self._waiters:
            self._wanted.set()

    def read_for(self, queue: SimpleQueue[Any], seconds: float) -> None:
        """Read until something is in the queue, `seconds` at the most. Whoever puts something there says so by `heard`."""
        until = time.monotonic() + seconds
        with self._turn:
            try:
                self._asleep = True
                while queue.empty() and (left := until - time.monotonic()) > 0:
                    self._read(left)
            finally:
                self._asleep = False

    def heard(self) -> None:
        """May be called in any thread, and from a signal handler."""
        if self._asleep:
            self._ring()

    def _ring(self) -> None:
        os.eventfd_write(self._bell, 1)

    # ------------------------------------------------------------ reading

    def _read(self, seconds: float | None) -> None:
        """With the turn."""
        assert self._epoll is not None
        found = self._epoll.poll(seconds)
        asleep, self._asleep = self._asleep, False  # it looks at its queue before it sleeps again
        for fd, _ in found:
            if fd == self._bell:
                os.eventfd_read(self._bell)
            elif ready := self._ready.get(fd):
                ready()
        self._asleep = asleep

    def _work(self) -> None:
        while True:
            self._wanted.wait(_LOOK_UP)
            self._wanted.clear()
            if self._turn.acquire(blocking=False):
                try:
                    self._read(0)  # whoever has claimed it may be held up
                    while not self._claimed:
                        self._read(None)
                finally:
                    self._turn.release()


DUTY = Duty()
