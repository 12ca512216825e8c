"""How amounts, limits and causes of a notebook's limits are called."""

from __future__ import annotations

from labctl.measure.limit_steps import Tried
from labctl.report import formats
from labctl.report.notebook_found import Found

LABELS = {"cpu": "CPU", "memory": "Memory", "disk": "Disk"}
DOES = {"cpu": "run", "memory": "are allocated", "disk": "are written to one file"}
CAUSES = {
    "oom": "killed for lack of memory (oom)",
    "oom_group": "the whole container killed for lack of memory (oom, group)",
    "enospc": "no space left (enospc)",
    "throttle": "held back by the CPU quota (throttle)",
    "killed": "killed from outside",
    "pids": "no more processes (pids)",
    "fds": "no more files can be opened (fds)",
    "timeout": "no answer in time (timeout)",
    "exit": "ended by itself (exit)",
    "short": "less achieved than asked for (short)",
    "controller lost": "the controller was lost",
}


def label(one: Found) -> str:
    """The resource; with the node's name where several were searched."""
    name = LABELS.get(one.resource, one.resource)
    return name if one.alone else f"{name} on {one.search.head.get('host') or one.path.stem}"


def amount(one: Found, value: float | None) -> str:
    """3 processes, 448 MiB."""
    if value is None:
        return formats.MISSING
    if one.result.unit == "processes":
        return f"{value:.0f} process{'es' * (value != 1)}"
    return formats.quantity(value, "B")


def limit(one: Found) -> str:
    value = one.limit
    if value is None:
        return "no limit"
    if one.resource == "cpu":
        return f"{formats.digits(value)} core{'s' * (value != 1)}"
    return formats.quantity(value, "B")


def does(one: Found) -> str:
    """What happens to an amount: 448 MiB "are allocated"."""
    return DOES.get(one.resource, "are used")


def cause(name: str | None) -> str:
    return CAUSES.get(name or "", name or formats.MISSING)


def throughput_unit(one: Found) -> str:
    """What a second of work is counted in."""
    return {"cpu": "products/s", "memory": "MiB/s", "disk": "MiB/s"}.get(one.resource, "/s")


def throughput(one: Found, step: Tried) -> float | None:
    """Work per second in `throughput_unit`."""
    value = step.value("throughput")
    return value if value is None or one.resource == "cpu" else value / 2**20


def spread(share: float | None) -> str:
    return "one value only" if share is None else "all alike" if share == 0 else formats.percent(share)
