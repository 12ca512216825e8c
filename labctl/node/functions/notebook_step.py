"""One step of load on a notebook, run and watched from outside its containers.

The load tells what it does over a Unix socket, the client in the pod's other container tells how fast trivial cells
are answered, the manager tells the kernel's wait status; what has ended is known from pidfds, and why from the
cgroup's counters. All of it is waited for in one poll, that looks at the counters at least every 20 ms.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack
from typing import Any, Callable, Dict, List, Optional

from labctl.node.functions import notebook_counters as counters
from labctl.node.functions import notebook_death as deaths
from labctl.node.functions import notebook_disk as disk
from labctl.node.functions import notebook_pod as notebooks
from labctl.node.functions import pods_containers as containers
from labctl.node.functions.notebook_links import Lines, Link, NotebookError, Process, outside

Values = Dict[str, Any]
LOOK = 20  # milliseconds between two looks at the counters
PROBE = 0.2  # seconds between two trivial cells
LATE = 1000.0  # milliseconds after which a cell without an answer is a timeout
_STATUS = 0.7  # seconds the manager has for the wait status of a kernel that has ended
_SOCKET = "step.sock"


def step(pod: str, resource: str, amount: int, seconds: float, timeout: float) -> Values:
    """See labctl.pods.notebook.Notebook.step; the kernel is alive and idle."""
    now = notebooks.status(pod)
    paths = containers.cgroups("%s.%s" % (pod, notebooks.NOTEBOOK))
    kernel = outside(paths, now["pid"]) if now else None
    main = notebooks.task(pod, notebooks.NOTEBOOK)["pid"]
    if kernel is None or main is None:
        raise NotebookError("its kernel ended before the step began")
    folder = notebooks.sockets(pod)
    with ExitStack() as links:
        load = links.enter_context(Lines(folder, _SOCKET))
        client = links.enter_context(Link(folder, "client.sock"))
        manager = links.enter_context(Link(folder, "manager.sock"))
        watch = Watch(pod, resource, paths, load, client, manager, Process(kernel), Process(main))
        links.callback(watch.close)
        watch.run(amount, seconds, timeout)
    disk.empty(notebooks.work(pod))
    return watch.record(amount)


class Watch:
    """What is seen of one step."""

    def __init__(  # noqa: PLR0917 - all that is watched
        self,
        pod: str,
        resource: str,
        paths: Dict[str, str],
        load: Lines,
        client: Link,
        manager: Link,
        kernel: Process,
        main: Process,
    ) -> None:
        self.pod, self.resource, self.paths = pod, resource, paths
        self.load, self.client, self.manager, self.kernel, self.main = load, client, manager, kernel, main
        self.limit = _limit(pod, paths, resource)
        self.achieved = 0
        self.end: Optional[Values] = None  # what the load returned
        self.died: Optional[Values] = None  # {signal, exit} of the kernel, from the manager
        self.answers: List[float] = []
        self.unanswered: List[float] = []
        self.memory = counters.memory(paths)
        self.highest = self.memory["total"] or 0
        self.taken = 0
        self.death: Optional[Values] = None
        self._refused: Optional[Values] = None
        self._poll = select.poll()
        self._on: Dict[int, Callable[[], None]] = {}
        self._peer: Optional[Link] = None
        self._lived = time.monotonic()
        self._kills = counters.oom_kill(paths)

    def close(self) -> None:
        self.kernel.close()
        self.main.close()
        if self._peer:
            self._peer.socket.close()

    # ------------------------------------------------------------ watching

    def run(self, amount: int, seconds: float, timeout: float) -> None:
        self._watch(self.load.listener.fileno(), self._accept)
        self._watch(self.client.fileno(), self._from_client)
        self._watch(self.manager.fileno(), self._from_manager)
        for process in (self.kernel, self.main):
            if process.descriptor >= 0:
                self._watch(process.descriptor, lambda: None)
        path = "%s/%s" % (notebooks.RUN, _SOCKET)
        code = "notebook_stress.begin(%r, %d, %r, %r)" % (self.resource, amount, seconds, path)
        self._free = disk.available(notebooks.work(self.pod))
        self._reset_peak()
        self.client.send(op="probe", every=PROBE)
        self.client.send(op="execute", id=1, code=code)
        self.before, self.begun = counters.cumulative(self.paths), time.monotonic()
        deadline = self.begun + timeout
        while not self.end and not self._refused:
            self._once()
            if self.main.ended or self.kernel.ended:
                break
            if time.monotonic() > deadline:
                break
        self.ended = time.monotonic()
        self.after = counters.cumulative(self.paths)
        self._conclude()
        self._quiet()

    def _watch(self, descriptor: int, call: Callable[[], None]) -> None:
        self._on[descriptor] = call
        self._poll.register(descriptor, select.POLLIN)

    def _once(self) -> None:
        """Wait for something, for a moment at most, take it, look at the counters."""
        begun = time.monotonic()
        ready = [descriptor for descriptor, _ in self._poll.poll(LOOK)]
        kills = counters.oom_kill(self.paths)
        if kills == self._kills and not {self.kernel.descriptor, self.main.descriptor} & set(ready):
            self._lived = begun
        self._sample()
        for descriptor in ready:
            self._on[descriptor]()

    def _accept(self) -> None:
        self._peer = self.load.accept()
        self._watch(self._peer.fileno(), self._from_load)

    def _from_load(self) -> None:
        assert self._peer is not None
        for line in self._lines(self._peer):
            self.achieved = line.get("achieved", self.achieved)
            if line["event"] == "end":
                self.end = line
            elif self.resource == "cpu":  # all workers are there: what they use counts from now on
                self.before, self.begun = counters.cumulative(self.paths), time.monotonic()

    def _from_client(self) -> None:
        for line in self._lines(self.client):
            if line["event"] == "probe":
                self.answers.append(line["ms"])
            elif line["event"] == "quiet":
                self.unanswered = line["unanswered"]
            elif line["event"] == "executed" and line["status"] != "ok":
                self._refused = {"errno": None, "message": "%s: %s" % (line["ename"], line["evalue"])}

    def _from_manager(self) -> None:
        for line in self._lines(self.manager):
            if line["event"] == "death":
                self.died = {"signal": line["signal"], "exit": line["exit"]}

    def _lines(self, link: Link) -> List[Values]:
        """What has come; one whose other side has gone is not watched any more."""
        try:
            return link.lines()
        except (EOFError, OSError):
            self._poll.unregister(link.fileno())
            return []

    def _sample(self) -> None:
        memory = counters.memory(self.paths)
        held, before = _unreclaimable(memory), _unreclaimable(self.memory)
        self.highest = max(self.highest, memory["total"] or 0)
        if held >= before:
            self.memory = memory
        if self.resource == "disk":
            self.taken = max(self.taken, self._free - disk.available(notebooks.work(self.pod)))

    def _reset_peak(self) -> None:
        """cgroup v1 keeps the highest total since it was last set back: exact where samples may miss it."""
        try:
            with open(os.path.join(self.paths["memory"], "memory.max_usage_in_bytes"), "w") as stream:
                stream.write("0")
            self._peak = True
        except (KeyError, OSError):
            self._peak = False

    # ------------------------------------------------------------ concluding

    def _conclude(self) -> None:
        """Name what has died, if anything has."""
        errno = (self.end or {}).get("errno")
        what: Optional[str] = None
        status: Optional[Values] = None
        timed_out = False
        if self.kernel.ended or self.main.ended:
            status = self._wait_status()
            what = "container" if self.main.ended else "kernel"
            if what == "container":
                status = deaths.of_container(self._exit_code())
        elif self.end is None and self._refused is None:
            what, timed_out = "kernel", True
            os.kill(self.kernel.pid, signal.SIGKILL)  # nobody knows what it would do next
            self._wait_status()
        elif (self.end or {}).get("worker"):
            what, status = "worker", (self.end or {})["worker"]
        if what is None:
            return
        self.after = counters.cumulative(self.paths)
        risen = counters.risen(self.before, self.after)
        self.death = deaths.death(what, status, risen, errno, timed_out)
        self.death["mono"] = time.monotonic()
        self.death["wall"] = time.time()
        self.death["detected_after_s"] = self.death["mono"] - self._lived

    def _wait_status(self) -> Optional[Values]:
        """The kernel's, as soon as the manager tells it; what kills both leaves nobody to tell."""
        deadline = time.monotonic() + _STATUS
        while self.died is None and not self.main.ended and time.monotonic() < deadline:
            for descriptor, _ in self._poll.poll(LOOK):
                self._on[descriptor]()
        return self.died

    def _exit_code(self) -> Optional[int]:
        """The container's, as soon as its shim has collected it."""
        deadline = time.monotonic() + _STATUS
        while True:
            task = notebooks.task(self.pod, notebooks.NOTEBOOK)
            if task["state"] != "running" or time.monotonic() > deadline:
                code: Optional[int] = task["exit_code"]
                return code
            time.sleep(0.005)

    def _quiet(self) -> None:
        """Stop the trivial cells, and hear which were not answered."""
        try:
            self.client.send(op="quiet")
            line = self.client.until("quiet", time.monotonic() + 5.0)
            self.unanswered = line["unanswered"]
        except (OSError, EOFError):
            raise NotebookError(
                "its client has ended: what the step did to the notebook is not known"
            ) from None

    def record(self, amount: int) -> Values:
        end, risen = self.end or {}, counters.risen(self.before, self.after)
        wall = self.ended - self.begun
        usage = self._usage(risen["cpu_usec"], wall)
        psi, reason = counters.pressure(self.paths, self.resource)
        error = self._refused
        if "message" in end and not self.death:
            error = {"errno": end["errno"], "message": end["message"]}
        throttled = risen["throttled_usec"]
        return {
            "resource": self.resource,
            "requested": amount,
            "achieved": end.get("achieved", self.achieved),
            "wall_s": wall,
            "work_s": end.get("work_s"),
            "usage": usage,
            "limit": self.limit,
            "pct_of_limit": 100 * usage / self.limit if usage is not None and self.limit else None,
            "memory": {key: self.memory[key] for key in ("total", "anon", "file", "shmem", "kernel")},
            "throttled_pct": None if throttled is None else throttled / wall / 1e4,
            "nr_throttled": risen["nr_throttled"],
            "nr_periods": risen["nr_periods"],
            "psi_some_avg10": psi,
            "psi_reason": reason,
            "swap_used": self.memory["swap"],
            "responsiveness_ms": responsiveness(self.answers, self.unanswered),
            "throughput": end.get("throughput"),
            "read_throughput": end.get("read_throughput"),
            "per_worker_s": end.get("per_worker_s") or [],
            "per_worker_work": end.get("per_worker_work") or [],
            "survived": self.death is None,
            "death": self.death,
            "error": error,
        }

    def _usage(self, cpu_usec: Optional[int], wall: float) -> Optional[float]:
        if self.resource == "cpu":
            return None if cpu_usec is None else cpu_usec / 1e6 / wall
        if self.resource == "disk":
            return self.taken
        if self._peak:
            peak = counters.number(counters.text(self.paths, "memory", "memory.max_usage_in_bytes"))
            return max(self.highest, peak or 0)
        return self.highest


def _limit(pod: str, paths: Dict[str, str], resource: str) -> Optional[float]:
    if resource == "disk":
        return float(notebooks.job(pod)["disk"])
    found: Optional[float] = counters.limits(paths)[resource]
    return found


def _unreclaimable(memory: Dict[str, Optional[int]]) -> int:
    return (memory["anon"] or 0) + (memory["shmem"] or 0) + (memory["kernel"] or 0)


def responsiveness(answers: List[float], unanswered: List[float]) -> Values:
    """{p50, p95, max, count, timeouts} of milliseconds; cells without an answer count as long as they have waited, for
    leaving them out would make a kernel that hangs look fast."""
    late = [ms for ms in unanswered if ms > LATE]
    known = sorted(answers + late)
    rank = (
        {share: known[min(len(known) - 1, int(share * len(known)))] for share in (0.5, 0.95)} if known else {}
    )
    return {
        "p50": rank.get(0.5),
        "p95": rank.get(0.95),
        "max": known[-1] if known else None,
        "count": len(answers) + len(unanswered),
        "timeouts": len(late),
    }
