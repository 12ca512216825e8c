"""What the kernel counts of a container's cgroup, the same from cgroup v1, hybrid and v2.

Every function takes the container's cgroups as `pods_containers.cgroups` gives them: {"unified": path}, or a path
for each v1 controller. What a kernel does not count is None.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional, Tuple

Paths = Dict[str, str]
_NO_LIMIT = 1 << 60  # v1 says "no limit" with a number near 2**63
_PRESSURE = {"cpu": "cpu.pressure", "memory": "memory.pressure", "disk": "io.pressure"}


def text(paths: Paths, controller: str, file: str) -> Optional[str]:
    """A file of the cgroup that has the controller, or None."""
    folder = paths.get("unified") or paths.get(controller)
    if folder is None:
        return None
    try:
        with open(os.path.join(folder, file)) as stream:
            return stream.read()
    except OSError:
        return None


def table(content: Optional[str]) -> Dict[str, int]:
    """{key: number} of a "key number" file."""
    found = {}
    for line in (content or "").splitlines():
        words = line.split()
        if len(words) == 2 and words[1].lstrip("-").isdigit():
            found[words[0]] = int(words[1])
    return found


def number(content: Optional[str]) -> Optional[int]:
    """The number a file holds; None for "max" and what v1 writes for it."""
    words = (content or "").split()
    if not words or not words[0].lstrip("-").isdigit():
        return None
    value = int(words[0])
    return None if value < 0 or value >= _NO_LIMIT else value


def cumulative(paths: Paths) -> Dict[str, Optional[int]]:
    """Counters that only rise: {cpu_usec, nr_periods, nr_throttled, throttled_usec, oom_kill, oom_group_kill,
    pids_max (forks refused)}."""
    stat = table(text(paths, "cpu", "cpu.stat"))
    pids = table(text(paths, "pids", "pids.events"))
    if "unified" in paths:
        events = table(text(paths, "memory", "memory.events"))
        usage, throttled = stat.get("usage_usec"), stat.get("throttled_usec")
    else:
        events = table(text(paths, "memory", "memory.oom_control"))
        usage, throttled = number(text(paths, "cpuacct", "cpuacct.usage")), stat.get("throttled_time")
        usage = None if usage is None else usage // 1000
        throttled = None if throttled is None else throttled // 1000
    return {
        "cpu_usec": usage,
        "nr_periods": stat.get("nr_periods"),
        "nr_throttled": stat.get("nr_throttled"),
        "throttled_usec": throttled,
        "oom_kill": events.get("oom_kill"),
        "oom_group_kill": events.get("oom_group_kill"),
        "pids_max": pids.get("max"),
    }


def risen(before: Dict[str, Optional[int]], after: Dict[str, Optional[int]]) -> Dict[str, Optional[int]]:
    """By how much each counter rose; None where one of the two is not known."""
    found: Dict[str, Optional[int]] = {}
    for key, old in before.items():
        new = after.get(key)
        found[key] = None if old is None or new is None else new - old
    return found


def oom_kill(paths: Paths) -> Optional[int]:
    """The one counter that is looked at often."""
    file = "memory.events" if "unified" in paths else "memory.oom_control"
    return table(text(paths, "memory", file)).get("oom_kill")


def memory(paths: Paths) -> Dict[str, Optional[int]]:
    """Bytes now: {total (page cache included), anon, file, shmem, kernel, swap}."""
    stat = table(text(paths, "memory", "memory.stat"))
    if "unified" in paths:
        return {
            "total": number(text(paths, "memory", "memory.current")),
            "anon": stat.get("anon"),
            "file": stat.get("file"),
            "shmem": stat.get("shmem"),
            "kernel": stat.get("kernel"),
            "swap": number(text(paths, "memory", "memory.swap.current")),
        }
    return {
        "total": number(text(paths, "memory", "memory.usage_in_bytes")),
        "anon": stat.get("total_rss"),
        "file": stat.get("total_cache"),
        "shmem": stat.get("total_shmem"),
        "kernel": number(text(paths, "memory", "memory.kmem.usage_in_bytes")),
        "swap": stat.get("total_swap"),
    }


def limits(paths: Paths) -> Dict[str, Any]:
    """{cpu: cores, memory: bytes}; None without a limit."""
    if "unified" in paths:
        quota, period = [*(text(paths, "cpu", "cpu.max") or "max").split(), "100000"][:2]
        cores = int(quota) / int(period) if quota.isdigit() else None
        return {"cpu": cores, "memory": number(text(paths, "memory", "memory.max"))}
    of_v1 = number(text(paths, "cpu", "cpu.cfs_quota_us"))
    each = number(text(paths, "cpu", "cpu.cfs_period_us"))
    return {
        "cpu": of_v1 / each if of_v1 and each else None,
        "memory": number(text(paths, "memory", "memory.limit_in_bytes")),
    }


def pressure(paths: Paths, resource: str) -> Tuple[Optional[float], Optional[str]]:
    """Share of the last 10 s (in percent) in which some task stalled for the resource; or None, and why."""
    if "unified" not in paths:
        return None, "cgroup v1 has no pressure of a container"
    content = text(paths, resource, _PRESSURE[resource])
    for line in (content or "").splitlines():
        if line.startswith("some "):
            fields = dict(word.split("=") for word in line.split()[1:])
            return float(fields["avg10"]), None
    return None, "the kernel has no pressure information (CONFIG_PSI, psi=1)"


def without_swap(paths: Paths) -> str:
    """Let the container have no swap, as the kubelet does: 'off', or 'counted' where the kernel cannot (what it swaps
    is then in `memory`)."""
    if "unified" in paths:
        files = [("memory.swap.max", "0")]
    else:
        limit = text(paths, "memory", "memory.limit_in_bytes") or ""
        files = [("memory.memsw.limit_in_bytes", limit.strip())]
    for file, value in files:
        try:
            with open(os.path.join(paths.get("unified") or paths["memory"], file), "w") as stream:
                stream.write(value)
        except (OSError, KeyError):
            return "counted"
    return "off"


def kill_as_one(paths: Paths) -> bool:
    """Let one kill for lack of memory end the whole container (memory.oom.group); False on cgroup v1, which cannot."""
    if "unified" not in paths:
        return False
    try:
        with open(os.path.join(paths["unified"], "memory.oom.group"), "w") as stream:
            stream.write("1")
    except OSError:
        return False
    return True
