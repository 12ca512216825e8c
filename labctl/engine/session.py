"""The Node a task works with: the host's agent, looked up anew for each call.

Looking it up anew means that a connection dropped by an interrupt, a timeout or `meta: reset_connection`
is simply made again by the next call. After an interrupt the first call of a task raises Interrupted, so
that the task stops where it is; calls after that are its own clean-up and go through.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, Unpack

from labctl.engine.interrupt import Stop
from labctl.errors import Interrupted, TaskTimeout, Unreachable
from labctl.node.api import CommandOptions, Completed, Node, Stat, Stream
from labctl.node.clock import CLOSE

T = TypeVar("T")


class Calls:
    """The hosts that tasks are waiting for right now."""

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
        with self._calls.to(host):
            self._check()
            try:
                yield
            except Unreachable as error:
                raised = self._meaning(error)
                if raised is error:
                    raise
                raise raised from None

    def _check(self) -> None:
        if self._knows:
            return
        if self._stop.asked:
            self._tell()
            raise Interrupted(self._stop.reason)
        if self.over:
            self._tell()
            raise self.timeout()

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

    def _meaning(self, error: Unreachable) -> Exception:
        """What a connection that ended under a call really means."""
        if self._knows:
            return error
        if self._stop.asked:
            self._tell()
            return Interrupted(self._stop.reason)
        if self.over:
            self._tell()
            return self.timeout()
        return error

    def timeout(self) -> TaskTimeout:
        return TaskTimeout(
            f"the task did not end within its timeout of {self.seconds:g} s",
            timedout={"period": int(self.seconds or 0) or self.seconds},
        )


class SessionNode:
    """A Node (labctl.node.api) over whatever agent `connect` gives at the moment of the call."""

    def __init__(
        self,
        host: str,
        connect: Callable[[], Node],
        deadline: Deadline,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._host = host
        self._connect = connect
        self._deadline = deadline
        self._environment = environment or {}

    @property
    def host(self) -> str:
        return self._host

    def _do(self, call: Callable[[Node], T]) -> T:
        with self._deadline.call(self._host):
            return call(self._connect())

    def run(self, argv: Sequence[str], **how: Unpack[CommandOptions]) -> Completed:
        left, timeout = self._deadline.left, how.get("timeout")
        limit = timeout if left is None else left if timeout is None else min(timeout, left)
        there: CommandOptions = {**self._here(how), "timeout": limit}
        done = self._do(lambda node: node.run(argv, **there))
        if done.timed_out and limit is not timeout:
            raise self._deadline.timeout()
        return done

    def _here(self, how: CommandOptions) -> CommandOptions:
        """With the task's environment."""
        return {**how, "env": {**self._environment, **(how.get("env") or {})}}

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        return self._do(lambda node: node.read(path, limit=limit))

    def write(
        self,
        path: str,
        data: bytes,
        *,
        mode: int | None = None,
        owner: str | None = None,
        group: str | None = None,
        backup: bool = False,
    ) -> str | None:
        return self._do(
            lambda node: node.write(path, data, mode=mode, owner=owner, group=group, backup=backup)
        )

    def put(self, source: Path, path: str, *, mode: int | None = None) -> None:
        self._do(lambda node: node.put(source, path, mode=mode))

    def get(self, path: str, destination: Path) -> None:
        self._do(lambda node: node.get(path, destination))

    def stat(self, path: str, *, follow: bool = False, checksum: bool = False) -> Stat | None:
        return self._do(lambda node: node.stat(path, follow=follow, checksum=checksum))

    def list(self, path: str) -> list[Stat]:
        return self._do(lambda node: node.list(path))

    def remove(self, path: str) -> bool:
        return self._do(lambda node: node.remove(path))

    def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True) -> bool:
        return self._do(lambda node: node.mkdir(path, mode=mode, parents=parents))

    def link(self, target: str, path: str, *, hard: bool = False) -> None:
        self._do(lambda node: node.link(target, path, hard=hard))

    def chmod(self, path: str, mode: int, *, follow: bool = True) -> None:
        self._do(lambda node: node.chmod(path, mode, follow=follow))

    def chown(
        self, path: str, *, owner: str | None = None, group: str | None = None, follow: bool = True
    ) -> None:
        self._do(lambda node: node.chown(path, owner=owner, group=group, follow=follow))

    def call(self, module: str, function: str, /, **arguments: Any) -> Any:
        return self._do(lambda node: node.call(module, function, **arguments))

    def start(
        self,
        program: bytes,
        arguments: Sequence[str],
        *,
        line: Callable[[str], None],
        name: str = "program",
    ) -> Stream:
        return self._do(lambda node: node.start(program, arguments, line=line, name=name))

    def clock_offset(self, error: float = CLOSE) -> float:
        return self._do(lambda node: node.clock_offset(error))

    def close(self) -> None:
        """The agent belongs to the run, not to the task."""


class Watchdog:
    """Ends what a task started when its wall clock runs out, even if the node no longer answers: it drops
    the connection, so that the blocked call returns. One thread for the whole run."""

    GRACE = 5.0  # seconds the agent gets to report the timeout itself

    def __init__(self, drop: Callable[[str], None]) -> None:
        self._drop = drop
        self._watched: dict[int, tuple[float, Sequence[str]]] = {}
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
            self._watched[id(deadline)] = (time.monotonic() + left + self.GRACE, hosts)
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
                nearest = min((at for at, _ in self._watched.values()), default=None)
                self._changed.wait(None if nearest is None else max(0.0, nearest - time.monotonic()))
                hosts = list(self._due())
            for host in hosts:
                self._drop(host)

    def _due(self) -> Iterator[str]:
        now = time.monotonic()
        for token in [token for token, (at, _) in self._watched.items() if at <= now]:
            yield from self._watched.pop(token)[1]
