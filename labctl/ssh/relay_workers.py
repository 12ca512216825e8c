"""Worker processes that hold the SSH connections of a run with many hosts, as the controller sees them.

One Python process encrypts for one host at a time. Above some hundred of them workers share them out; the passwords
and keys a host needs go to its worker over a private socket, and the workers end when that closes, whatever
became of the controller."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import zlib
from typing import Literal

from labctl.errors import ConnectionLost, Unreachable
from labctl.ssh.relay import RelayPipe, pair
from labctl.ssh.settings import ConnectionSettings

_HOSTS_EACH = 100  # a worker costs a quarter of a second of CPU to start
_PATIENCE = 5.0  # seconds a worker has to close what it holds

Request = tuple[Literal["open", "close"], ConnectionSettings, str]


def workers_for(hosts: int) -> int:
    """How many workers a run over that many hosts is worth; 0: this process alone. One processor is this process's
    own, and one worker does no better than it would."""
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    count = min(processors - 1, hosts // _HOSTS_EACH)
    return count if count > 1 else 0


class Workers:
    """Thread-safe. A worker that has died is replaced when it is asked for again."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._workers: list[_Worker | None] = [_start() for _ in range(count)]
        self._closed = False

    def open(self, settings: ConnectionSettings, line: str) -> RelayPipe | None:
        """Have a worker start a command line on a host. None where this machine runs no workers. Raises Unreachable
        and its children."""
        for _ in range(2):
            worker = self._of(settings)
            if worker is None:
                return None
            if pipe := worker.open(settings, line):
                return pipe
        raise ConnectionLost(f"{settings.host}: labctl's processes that hold its connection keep ending")

    def drop(self, settings: ConnectionSettings) -> None:
        """Close the transport to a host."""
        with self._lock:
            worker = self._workers[self._place(settings)]
        if worker:
            try:
                worker.ask(("close", settings, ""))
            except OSError:
                worker.dead = True  # and its transports with it

    def close(self) -> None:
        with self._lock:
            self._closed = True
            workers, self._workers = self._workers, [None for _ in self._workers]
        for worker in workers:
            if worker:
                worker.control.close()
        for worker in workers:
            if worker:
                worker.reap()

    def _place(self, settings: ConnectionSettings) -> int:
        # what is reached at one address, or through one, is with one worker: it counts how many it lets in at once
        first = settings.jumps[0] if settings.jumps else settings.address
        return zlib.crc32(first.encode()) % len(self._workers)

    def _of(self, settings: ConnectionSettings) -> _Worker | None:
        place = self._place(settings)
        with self._lock:
            worker = self._workers[place]
            if self._closed:
                raise ConnectionLost(f"{settings.host}: the connections of this run are closed")
            if worker and (worker.dead or worker.process.poll() is not None):
                worker.control.close()
                worker.reap()
                # one that never did anything would not the second time
                worker = self._workers[place] = _start() if worker.proven else None
            return worker


class _Worker:
    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process = process
        self.control = control
        self.proven = False
        self.dead = False
        self._asking = threading.Lock()

    def ask(self, request: Request, end: socket.socket | None = None) -> None:
        data = pickle.dumps(request)
        with self._asking:
            socket.send_fds(self.control, [data], [end.fileno()] if end else [])

    def open(self, settings: ConnectionSettings, line: str) -> RelayPipe | None:
        """None where the worker has ended. Raises Unreachable and its children."""
        try:
            end, theirs = pair()
        except OSError as error:
            raise Unreachable(f"{settings.host}: no socket for its connection: {error.strerror}") from None
        pipe = RelayPipe(end)
        try:
            with theirs:
                self.ask(("open", settings, line), theirs)
            pipe.started()
        except (OSError, EOFError):
            pipe.close()
            self.dead = True
            return None
        except BaseException:
            pipe.close()
            raise
        self.proven = True
        return pipe

    def reap(self) -> None:
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _start() -> _Worker | None:
    control, theirs = pair()
    with theirs:
        argv = [sys.executable, "-P", "-m", "labctl.ssh.relay_worker", str(theirs.fileno())]
        try:
            # a session of its own: Ctrl-C in the terminal is the controller's to handle
            process = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            control.close()
            return None
    return _Worker(process, control)
