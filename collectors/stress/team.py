"""The workers of all stressors: made, let go at one moment, watched, and ended."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time

from stress.board import Board, Slot
from stress.counts import Fds, Pids
from stress.cpu import Cpu
from stress.disk import Disk
from stress.memory import Memory
from stress.network import Sink, Source
from stress.ng import StressNg
from stress.processes import cpu_seconds, descendants, end_with, how_it_ended, offer_to_the_oom_killer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stress.cgroups import Cgroups

KINDS = {
    "cpu": Cpu,
    "memory": Memory,
    "disk": Disk,
    "network": Source,
    "sink": Sink,
    "pids": Pids,
    "fds": Fds,
}
READY_WITHIN = 20.0  # seconds for all workers to be there: a node can be slow to fork
GRACE = 3.0  # seconds between SIGTERM and SIGKILL: stress-ng has files to remove
LOOK = 0.1  # seconds between two looks at a process that cannot be watched


def write(line: dict[str, object]) -> None:
    """Hand a line over; when nobody reads any more, that is the end."""
    data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        raise SystemExit(0) from None


class Watched:
    """A process somebody else started: whether it is still there."""

    def __init__(self, pid: int) -> None:
        self.path = "/proc/%d/stat" % pid
        self.began = self._began()
        self.fd = -1
        try:
            self.fd = os.pidfd_open(pid)
        except (AttributeError, OSError):  # Python 3.8, a kernel before 5.3, or it has ended
            pass

    def _began(self) -> bytes | None:
        try:
            with open(self.path, "rb") as stream:
                fields = stream.read().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if fields[0] in b"ZX" else fields[19]

    def ended(self) -> bool:
        return self.began is None or self._began() != self.began


class Worker:
    """One process of a stressor. `pid` 0: it does not run (any more)."""

    def __init__(self, name: str, number: int, row: int) -> None:
        self.name = name
        self.number = number
        self.row = row
        self.pid = 0
        self.used = 0.0
        self.began = self.stopped = 0.0
        self.ended: dict[str, int] | None = None  # how it ended by itself


class Team:
    def __init__(self, plan: dict[str, Any], engine: str, inside: Cgroups | None) -> None:
        self.me = os.getpid()
        self.plan = plan
        self.tree = engine == "stress-ng"
        self.kinds: dict[str, Any] = {name: StressNg if self.tree else KINDS[name] for name in plan}
        self.inside = inside
        self.workers: list[Worker] = []
        for name, options in plan.items():
            for number in range(1 if self.tree else options["workers"]):
                self.workers.append(Worker(name, number, len(self.workers)))
        self.board = Board(len(self.workers))
        self.ports: list[int] = []
        self.gate = os.pipe()
        self.kills = inside.oom_kills() if inside else None
        self.ending = False

    # ------------------------------------------------------------ beginning

    def assemble(self, leaving: list[int]) -> str | None:
        """Start every worker and wait until all stand ready, each in its cgroups; why that cannot be, or None."""
        for worker in self.workers:
            try:
                worker.pid = os.fork()
            except OSError as error:
                return "worker %d cannot be started: %s" % (worker.row + 1, error.strerror)
            if worker.pid == 0:
                self._be(worker)
        os.close(self.gate[0])
        waiting, until = len(self.workers), time.monotonic() + READY_WITHIN
        while waiting:
            if leaving:
                return "it was ended before it began"
            if time.monotonic() > until:
                return "the workers were not ready within %g s" % READY_WITHIN
            select.select([self.board.reading], [], [], LOOK)
            dead = self._reap()
            for said in self.board.messages():
                if "error" in said:
                    return str(said["error"])
                if "port" in said:
                    self.ports.append(said["port"])
                waiting -= "ready" in said
            if dead:
                return "a worker of %s ended before it began: %s" % (dead[0].name, dead[0].ended)
        return None

    def _be(self, worker: Worker) -> None:
        """What a worker's process does from its first to its last moment."""
        code = 1
        slot = Slot(self.board, worker.row)
        try:
            parent = self.me
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            end_with(parent)
            os.close(self.gate[1])
            offer_to_the_oom_killer()
            if self.inside:
                self.inside.join()
            options = dict(self.plan[worker.name], stressor=worker.name)
            work = self.kinds[worker.name](slot, options)
            slot.tell(ready=True)
            os.read(self.gate[0], 1)
            work.run(lambda: os.getppid() == parent)
            code = 0
        except OSError as error:
            slot.fail(error, worker.name)
            code = 3
        except MemoryError:
            slot.fail(OSError(12, os.strerror(12)), worker.name)
            code = 3
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(code)

    def described(self) -> dict[str, object]:
        found: dict[str, Any] = {
            name: {"unit": self.kinds[name].unit, **options, "pids": []}
            for name, options in self.plan.items()
        }
        for worker in self.workers:
            found[worker.name]["pids"].append(worker.pid)
        for one in found.values():
            one.pop("token", None)
        if self.ports:
            found["sink"]["ports"] = self.ports
        return found

    # ------------------------------------------------------------ at work

    def work(
        self, seconds: float | None, interval: float, wake: int, leaving: list[int], watched: Watched | None
    ) -> str:
        """Let them go, and write lines until something ends it; what that was."""
        os.close(self.gate[1])
        parent = os.getppid()
        self.begun = due = time.monotonic()
        for worker in self.workers:
            worker.began = self.begun
        poll = select.poll()
        for fd in (wake, self.board.reading, watched.fd if watched else -1):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        until = None if seconds is None else self.begun + seconds
        while True:
            now = time.monotonic()
            if now >= due:
                write(self._work_line())
                due += interval * (int((now - due) / interval) + 1)
            wait = min(due, due if until is None else until) - now
            poll.poll(max(0.0, min(wait, LOOK if watched and watched.fd < 0 else wait)) * 1000)
            self._drain(wake)
            self._hear()
            if until is not None and time.monotonic() >= until:
                return "time"
            if watched and watched.ended():
                return "container ended"
            if leaving or os.getppid() != parent:
                return "stopped"
            if not any(worker.pid for worker in self.workers):
                return "no worker is left"

    @staticmethod
    def _drain(wake: int) -> None:
        try:
            os.read(wake, 4096)
        except BlockingIOError:
            pass

    def _hear(self) -> None:
        """Write down what workers said, and which of them died."""
        dead = self._reap()
        for said in self.board.messages():
            if "error" in said:
                worker = self.workers[said["worker"]]
                words = {"message": said["error"], "errno": said.get("errno")}
                write(_line("error", stressor=worker.name, worker=worker.number, **words))
        for worker in dead:
            line = _line("death", stressor=worker.name, worker=worker.number, **worker.ended)
            write({**line, "held": self.board.row(worker.row)[2], "oom_kills": self._oom_kills()})

    def _oom_kills(self) -> int | None:
        """How many processes of the container the kernel killed for memory since this began."""
        now = self.inside.oom_kills() if self.inside else None
        return None if now is None or self.kills is None else now - self.kills

    def _reap(self) -> list[Worker]:
        """Workers that have ended since the last time."""
        found = []
        by_pid = {worker.pid: worker for worker in self.workers if worker.pid}
        while by_pid:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            worker = by_pid.get(pid)
            if worker:
                worker.used = usage.ru_utime + usage.ru_stime
                worker.stopped = time.monotonic()
                worker.ended = None if self.ending else how_it_ended(status)
                worker.pid = 0
                found.append(worker)
        return found

    def _cpu(self, worker: Worker) -> float:
        if worker.pid:
            now = [
                cpu_seconds(pid) or 0.0 for pid in (descendants(worker.pid) if self.tree else [worker.pid])
            ]
            worker.used = max(worker.used, sum(now))
        return worker.used

    def _work_line(self) -> dict[str, object]:
        """Each stressor's workers as [work, checked, held, CPU seconds], all since they began."""
        found: dict[str, list[list[float]]] = {}
        for worker in self.workers:
            numbers = [*self.board.row(worker.row), self._cpu(worker)]
            found.setdefault(worker.name, []).append([round(number, 6) for number in numbers])
        return _line("work", stressors=found)

    # ------------------------------------------------------------ ending

    def dismiss(self) -> None:
        """End all workers that are left, and wait for them."""
        self.ending = True
        number, until = signal.SIGTERM, time.monotonic() + GRACE
        self._reap()
        while any(worker.pid for worker in self.workers):
            for worker in self.workers:
                if worker.pid:
                    _send(worker.pid, number)
            self._await(until if number == signal.SIGTERM else time.monotonic() + 1.0)
            number = signal.SIGKILL

    def _await(self, until: float) -> None:
        pause = 0.001
        while any(worker.pid for worker in self.workers) and time.monotonic() < until:
            if not self._reap():
                time.sleep(pause)
                pause = min(0.05, pause * 2)

    def end_line(self, reason: str) -> dict[str, object]:
        found: dict[str, list[dict[str, object]]] = {}
        for worker in self.workers:
            work, checked, held = self.board.row(worker.row)
            told = {"work": work, "checked": checked, "held": held, "cpu_seconds": round(worker.used, 6)}
            told["seconds"] = round(worker.stopped - worker.began, 6)
            found.setdefault(worker.name, []).append({**told, "ended": worker.ended})
        own = resource.getrusage(resource.RUSAGE_SELF)
        end = _line("end", reason=reason, seconds=round(time.monotonic() - self.begun, 6), stressors=found)
        return {**end, "oom_kills": self._oom_kills(), "own_cpu_seconds": own.ru_utime + own.ru_stime}


def _line(kind: str, **values: object) -> dict[str, object]:
    return {"type": kind, "mono": time.monotonic(), "wall": time.time(), **values}


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
