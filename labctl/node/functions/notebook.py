"""What labctl.pods.notebook asks of a node, a round trip each. What the notebook itself makes impossible comes back as
{"failed": a sentence}; every shape is described there."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Optional

from labctl.node.functions import notebook_clean as cleaner
from labctl.node.functions import notebook_counters as counters
from labctl.node.functions import notebook_disk as disk
from labctl.node.functions import notebook_guard as guard
from labctl.node.functions import notebook_pod as notebooks
from labctl.node.functions import notebook_step as steps
from labctl.node.functions import pods_containers as containers
from labctl.node.functions.notebook_links import NotebookError

Values = Dict[str, Any]
_START = 60.0  # seconds for what a step has killed to be made anew
_ENDING = 10.0  # seconds the agent of a run that was killed may take to end
_ALLOWANCE = 30.0  # seconds a step may take beyond those it was asked for


def ready(job: Values) -> Values:
    """job: {pod, plan (for pods.apply), disk (bytes), oom_group, guard (source of notebook_guard), timeout}."""
    pod = job["pod"]
    if guard.taken_by_another(pod, _ENDING):
        return {"failed": "another run has a notebook of this name there"}
    begun = time.monotonic()
    try:
        guard.disarm(pod)
        guard.arm(pod, job.pop("guard"))
        cleaner.clean(pod)
        made = notebooks.make(job, begun + job["timeout"])
    except (NotebookError, OSError) as error:
        stop(pod)
        return {"failed": str(error)}
    kernel = {"pid": made.pop("pid"), "started_s": made.pop("started_s")}
    return dict(capacity(pod), **made, kernel=kernel, started_s=time.monotonic() - begun)


def step(pod: str, resource: str, amount: int, seconds: float, timeout: Optional[float] = None) -> Values:
    try:
        restarted = _revive(pod)
        record = steps.step(
            pod, resource, amount, seconds, seconds + _ALLOWANCE if timeout is None else timeout
        )
    except NotebookError as error:
        return {"failed": str(error)}
    record["restarted"] = restarted
    return record


def _revive(pod: str) -> Optional[str]:
    """Make anew what is dead: 'kernel', 'container' or None."""
    now = notebooks.status(pod)
    if (
        now is not None
        and now["death"] is None
        and notebooks.task(pod, notebooks.CLIENT)["state"] == "running"
    ):
        return None
    what = "container" if now is None or now["death"] is None else "kernel"
    (notebooks.remake if what == "container" else notebooks.restart)(pod, time.monotonic() + _START)
    return what


def restart(pod: str) -> Values:
    what = "kernel" if notebooks.status(pod) else "container"
    try:
        made = (notebooks.restart if what == "kernel" else notebooks.remake)(pod, time.monotonic() + _START)
    except NotebookError as error:
        return {"failed": str(error)}
    return {"pid": made["pid"], "started_s": made["started_s"], "what": what}


def capacity(pod: str) -> Values:
    paths = containers.cgroups("%s.%s" % (pod, notebooks.NOTEBOOK))
    meminfo = _meminfo()
    image = disk.image(pod)
    space = os.statvfs(image)
    return {
        "limits": dict(counters.limits(paths), disk=notebooks.job(pod)["disk"]),
        "memory_usage": counters.memory(paths)["total"],
        "disk_held": os.stat(image).st_blocks * 512,
        "mem_available": meminfo.get("MemAvailable"),
        "mem_total": meminfo.get("MemTotal"),
        "disk_free": space.f_bavail * space.f_frsize,
        "disk_total": space.f_blocks * space.f_frsize,
        "cpus": len(os.sched_getaffinity(0)),
    }


def _meminfo() -> Dict[str, int]:
    with open("/proc/meminfo") as stream:
        return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in stream if " kB" in line}


def stop(pod: str) -> Values:
    if guard.taken_by_another(pod, 0):
        return {"existed": False}
    removed = cleaner.clean(pod)
    guard.disarm(pod)
    if removed["left"]:
        return {"failed": "it cannot be removed: %s" % removed["left"]}
    return {"existed": removed["existed"]}
