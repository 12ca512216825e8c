"""Background load in one line: `cpu:50%,memory:256M,disk,network:20M/s`, the same on several nodes.

cpu:50%        so much of the processors that a node has to itself: of nodes that share a kernel (the embedded lab) each
               has its part of the machine's, so that the machine is under that load, not under as many times that
memory:256M    held by each node
disk           each node writes so many bytes a second (10M/s), makes them durable and reads them back
network        each node sends so many bytes a second (10M/s) to the next
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labctl.errors import PlaybookError, did_you_mean
from labctl.measure.noise import ONE_KERNEL
from labctl.stress.wanted import rate, share, size

GENTLE = 10_000_000  # bytes a second for disk and network where none are given
FORM = "cpu:50%[,memory:256M][,disk][,network]"
_READ: dict[str, tuple[Callable[[Any], Any], str]] = {
    "cpu": (share, "a share such as 50%"),
    "memory": (size, "a size such as 256M"),
    "disk": (rate, "bytes a second such as 20M/s"),
    "network": (rate, "bytes a second such as 20M/s"),
}


def parse(text: str) -> dict[str, Any]:
    """{"cpu": 0.5, "memory": 256000000, "disk": 10000000, "network": 10000000} of what the text names.
    PlaybookError for whatever it does not understand."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        kind, colon, amount = part.strip().partition(":")
        if kind not in _READ:
            hint = did_you_mean(kind, _READ) or f"expected {FORM}"
            raise PlaybookError(f"there is no load '{kind}' in '{text}'", hint=hint)
        if kind in found:
            raise PlaybookError(f"'{kind}' stands twice in the load '{text}'")
        read, words = _READ[kind]
        if not colon and kind in ("disk", "network"):
            found[kind] = GENTLE
            continue
        try:
            found[kind] = read(amount.strip())
        except (TypeError, ValueError, ArithmeticError):
            said = f"not '{amount}'" if colon else f"as in {kind}:{words.rsplit(' ', 1)[-1]}"
            raise PlaybookError(f"the load '{kind}' takes {words}, {said}", hint=f"expected {FORM}") from None
    return found


def stressors(
    load: Mapping[str, Any], host: str, among: Sequence[str], machines: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What the task type `stress` takes, for one of the nodes `among`. `machines`: what `stress.machine` on each of them
    told. PlaybookError for a network of one node."""
    found: dict[str, Any] = {}
    if "cpu" in load:
        own = processors(host, machines)
        workers = math.ceil(own)
        found["cpu"] = {"workers": workers, "load": load["cpu"] * own / workers}
    if "memory" in load:
        found["memory"] = {"size": load["memory"]}
    if "disk" in load:
        found["disk"] = {"rate": load["disk"]}
    if "network" in load:
        others = [name for name in among if name != host]
        if not others:
            raise PlaybookError("the load 'network' needs two nodes to send from one to the other")
        following = [*among[among.index(host) + 1 :], *others] if host in among else others
        found["network"] = {"to": following[0], "rate": load["network"]}
    return found


def processors(host: str, machines: Mapping[str, Mapping[str, Any]]) -> float:
    """How many processors a node has to itself: of nodes with one kernel each has its part."""
    mine = machines[host]
    sharing = [one for one in machines.values() if abs(one["booted"] - mine["booted"]) < ONE_KERNEL]
    return float(mine["cpus"] / len(sharing))
