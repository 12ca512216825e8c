"""A notebook in a container of fixed size on a node, loaded step by step until something dies.

The pod is `workloads/notebook/pod.yml`. All work is the node's (labctl/node/functions/notebook.py), one round trip
for a step. From `ready` to `stop` a guard on the node waits for the end of this run's agent there: however it
ends, the pod, its disk and their files go.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from labctl.errors import PlaybookError, TaskFailed
from labctl.node.api import Node
from labctl.node.bundle import function_source
from labctl.paths import builtin
from labctl.pods.containerd import Containerd
from labctl.pods.manifest import load_pod, merge
from labctl.pods.model import Pod
from labctl.pods.quantity import size_bytes

Resource = Literal["cpu", "memory", "disk"]
DISK = "labctl/disk"
WORK = "work"
_SERVED = {"command": ["python3", "/app/server.py"]}
_FOLDER = "/run/labctl/notebook"


class Death(TypedDict):
    """What died and why. `what`: `worker` (a process the kernel had started), `kernel` or `container`. `cause`:
    `oom`, `oom_group` (the whole group was killed), `enospc`, `killed` (by a signal that no lack of memory
    explains), `exit`, `timeout` (it lives, but did not end its step in time), `pids`. `signal` or `exit`: its wait
    status, both None where nobody could see it. `oom_kill`, `oom_group_kill`: by how much the cgroup's counters
    rose in the step, None where the kernel has none. `errno`: a name (`ENOSPC`) when the load met one.
    `detected_after_s`: seconds from the last look at which it lived until it was named: death came at most so
    long before. `wall`, `mono`: when it was named, on the node's clocks."""

    what: Literal["worker", "kernel", "container"]
    cause: Literal["oom", "oom_group", "enospc", "killed", "exit", "timeout", "pids"]
    signal: int | None
    exit: int | None
    oom_kill: int | None
    oom_group_kill: int | None
    errno: str | None
    detected_after_s: float
    wall: float
    mono: float


class StepRecord(TypedDict):
    """One step. `requested`, `achieved`: bytes (memory, disk) or processes (cpu). `wall_s`: from the order to the
    end or death; `work_s`: of that the load's own work, holding excepted. `usage` and `limit`: bytes of memory (the
    cgroup's total at its highest), bytes on the disk (statvfs), or cores (the cgroup's CPU time over wall time).
    `memory`: bytes {total, anon, file, shmem, kernel} of the sample with most that cannot be reclaimed (anon, shmem
    and kernel, which is None where unknown): near the limit page cache fills `usage` up to it, so the boundary is
    where these three end. `throttled_pct`: 100 times throttled time over wall time; of all processors together, so
    it may exceed 100. `psi_some_avg10` of the step's resource, or None with `psi_reason`. `responsiveness_ms`: from sending
    a trivial cell, every 200 ms, until its reply: {p50, p95, max, count, timeouts}; `timeouts` are those older than
    a second that had no answer at the step's end or the kernel's death. `throughput`: matrix products, bytes filled, or bytes written and synced, a second.
    `read_throughput`: bytes a second read back from the disk. `per_worker_s`, `per_worker_work`: seconds and
    matrix products of each process. `error`: {errno, message} of a load that ended with an error and killed nobody."""

    resource: Resource
    requested: int
    achieved: int
    wall_s: float
    work_s: float | None
    usage: float | None
    limit: float | None
    pct_of_limit: float | None
    memory: dict[str, int | None]
    throttled_pct: float | None
    nr_throttled: int | None
    nr_periods: int | None
    psi_some_avg10: float | None
    psi_reason: str | None
    swap_used: int | None
    responsiveness_ms: dict[str, Any]
    throughput: float | None
    read_throughput: float | None
    per_worker_s: list[float]
    per_worker_work: list[float]
    survived: bool
    death: Death | None
    error: dict[str, Any] | None
    restarted: Literal["kernel", "container"] | None


class Notebook:
    """One notebook on one node. Its methods raise TaskFailed when the notebook itself cannot be had (no image, no
    disk, a kernel that does not start); what dies under load is told in a step's record."""

    def __init__(self, node: Node, pod: Pod) -> None:
        self._node, self.pod = node, pod

    def ready(self, *, oom_group: bool = False, timeout: float = 60.0) -> dict[str, Any]:
        """Arm the guard, make the disk and the pod (an old one of this name goes first), and wait until the kernel
        has answered. `oom_group`: one kill for lack of memory ends the whole container, as the kubelet of 1.28 and
        later has it on cgroup v2. {kernel: {pid (the node's), started_s}, swap: 'off' or 'counted', started_s,
        oom_group: whether it holds} and what `capacity` returns."""
        plan = Containerd(lambda _host: self._node, [self._node.host], lambda _host: "").plan(
            self.pod, self._node.host
        )
        job = {
            "pod": self.pod.name,
            "plan": plan,
            "disk": disk_bytes(self.pod),
            "oom_group": oom_group,
            "guard": function_source("notebook_guard")[1].decode(),
            "timeout": timeout,
        }
        return self._ask("ready", job=job)

    def step(
        self, resource: Resource, amount: int, seconds: float, *, timeout: float | None = None
    ) -> StepRecord:
        """Load the kernel with `amount` and hold for `seconds` (cpu: work for so long). The kernel is alive and
        idle to begin with: what an earlier step killed is made anew first, which is not part of `wall_s`
        (`restarted` tells). `timeout`: seconds after which a step that has not ended counts as dead (None:
        30 s more than `seconds`)."""
        record = self._ask("step", resource=resource, amount=amount, seconds=seconds, timeout=timeout)
        return cast(StepRecord, record)

    def restart(self) -> dict[str, Any]:
        """A fresh kernel, in a fresh container where the old one is dead: {pid, started_s, what}."""
        return self._ask("restart")

    def capacity(self) -> dict[str, Any]:
        """{limits: {cpu: cores, memory, disk: bytes}, memory_usage, disk_held (bytes that the notebook has of the
        node's already), mem_available, mem_total, disk_free, disk_total (bytes, of the node), cpus}; None where
        unknown or unlimited."""
        return self._ask("capacity")

    def stop(self) -> dict[str, Any]:
        """Remove the pod, its disk and files, then the guard. {existed}. May be called at any time, and again."""
        return self._ask("stop")

    def _ask(self, function: str, **arguments: Any) -> dict[str, Any]:
        if function != "ready":
            arguments["pod"] = self.pod.name
        found: dict[str, Any] = self._node.call("notebook", function, **arguments)
        if "failed" in found:
            raise TaskFailed(f"notebook {self.pod.name} on {self._node.host}: {found['failed']}")
        return found


def notebook_pod(
    name: str = "notebook",
    *,
    cpu: str | float | None = None,
    memory: str | int | None = None,
    disk: str | int | None = None,
    server: bool = False,
    patch: Mapping[str, Any] | None = None,
    manifest: Path | None = None,
) -> Pod:
    """The notebook's pod under a name and with a size of its own, in Kubernetes' quantities ('1', '512Mi'; None: the
    manifest's). `server`: the kernel is a Jupyter Server's. PlaybookError when a quantity makes no
    sense."""
    limits = {key: str(value) for key, value in (("cpu", cpu), ("memory", memory)) if value is not None}
    change: dict[str, Any] = {
        "metadata": {"name": name, "annotations": {} if disk is None else {DISK: str(disk)}},
        "spec": {
            "containers": [
                {"name": "notebook", "resources": {"limits": limits}, **(_SERVED if server else {})}
            ],
            "volumes": [{"name": WORK, "hostPath": {"path": f"{_FOLDER}/{name}/disk"}}],
        },
    }
    path = manifest or builtin("workloads") / "notebook" / "pod.yml"
    pod = load_pod(path, patch=merge(dict(patch or {}), change))
    disk_bytes(pod)
    return pod


def disk_bytes(pod: Pod) -> int:
    """The size of the notebook's disk as its manifest says."""
    text = pod.annotations.get(DISK, "")
    try:
        size = size_bytes(text)
    except ValueError as error:
        raise PlaybookError(f"{DISK} of pod {pod.name}: {error}") from None
    if size < 2**20:
        raise PlaybookError(f"{DISK} of pod {pod.name} must be at least 1Mi, not '{text}'")
    return size
