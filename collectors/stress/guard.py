"""What a node can give: a stressor that asks for more than that is refused before it begins, and the node lives on.

Within a container's limit nothing can happen to the node, so there only what the limit lets through is counted.
"""

from __future__ import annotations

import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stress.cgroups import Cgroups

EACH_PROCESS = 1 << 20  # bytes of memory that one idle process is counted with
EACH_FILE = 512  # and one open file of the kernel's
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def refusal(plan: dict[str, Any], inside: Cgroups | None, reserve: float, proc: str = "/proc") -> str | None:
    """Why this cannot be done here without taking the node down; None when it can. `reserve`: the share of the node's
    memory, and of a file system, that is left alone."""
    checks = {"memory": _memory, "disk": _disk, "pids": _pids, "fds": _fds}
    for name, check in checks.items():
        if name in plan:
            reason = check(plan[name], inside, reserve, proc)
            if reason:
                return "%s: %s" % (name, reason)
    return None


def _memory(wanted: dict[str, Any], inside: Cgroups | None, reserve: float, proc: str) -> str | None:
    return _too_much_memory(wanted["size"] * wanted["workers"], inside, reserve, proc)


def _too_much_memory(amount: int, inside: Cgroups | None, reserve: float, proc: str) -> str | None:
    known = meminfo(proc)
    free = known["MemAvailable"] - int(reserve * known["MemTotal"])
    limit = inside.limit("memory") if inside else None
    if min(amount, amount if limit is None else limit) <= free:
        return None
    return "%s is more than the node can give: %s, with %g %% of its memory left alone" % (
        size(amount),
        size(max(0, free)),
        reserve * 100,
    )


def _disk(wanted: dict[str, Any], _inside: Cgroups | None, reserve: float, _proc: str) -> str | None:
    if not reserve:
        return None
    try:
        there = os.statvfs(wanted["folder"])
    except OSError as error:
        return "%s: %s" % (wanted["path"], error.strerror)
    amount = wanted["size"] * wanted["workers"]
    free = there.f_bavail * there.f_frsize - int(reserve * there.f_blocks * there.f_frsize)
    if amount <= free:
        return None
    return "%s is more than %s can give: %s, with %g %% of it left alone" % (
        size(amount),
        wanted["path"],
        size(max(0, free)),
        reserve * 100,
    )


def _pids(wanted: dict[str, Any], inside: Cgroups | None, reserve: float, proc: str) -> str | None:
    limit = inside.limit("pids") if inside else None
    if wanted["count"] is None and limit is None:
        return "without 'count' it takes all there are, and nothing limits them here"
    asked = limit if wanted["count"] is None else wanted["count"] * wanted["workers"]
    amount = asked if limit is None else min(asked, limit)
    most = min(_first(proc + "/sys/kernel/" + name) for name in ("pid_max", "threads-max"))
    with open(proc + "/loadavg") as stream:
        there = int(stream.read().split()[3].partition("/")[2])
    free = (most - there) // 2
    if amount > free:
        return "%d processes are more than the node can give: %d" % (amount, max(0, free))
    return _too_much_memory(amount * EACH_PROCESS, None, reserve, proc)


def _fds(wanted: dict[str, Any], _inside: Cgroups | None, reserve: float, proc: str) -> str | None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = hard if wanted["count"] is None else min(wanted["count"], hard)
    with open(proc + "/sys/fs/file-nr") as stream:
        used, _, most = [int(word) for word in stream.read().split()]
    free = (most - used) // 2
    if count * wanted["workers"] > free:
        return "%d descriptors are more than the node can give: %d" % (
            count * wanted["workers"],
            max(0, free),
        )
    return _too_much_memory(count * wanted["workers"] * EACH_FILE, None, reserve, proc)


def meminfo(proc: str = "/proc") -> dict[str, int]:
    """Bytes by name, of /proc/meminfo."""
    with open(proc + "/meminfo") as stream:
        return {line.split(":")[0]: int(line.split()[1]) << 10 for line in stream if line.endswith("kB\n")}


def size(amount: float) -> str:
    """1536 as '1.5 KiB'."""
    unit = 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return "%.4g %s" % (amount, UNITS[unit])


def _first(path: str) -> int:
    with open(path) as stream:
        return int(stream.read().split()[0])
