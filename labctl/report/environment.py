"""Where a result comes from: the machines, the versions, the command."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

from labctl.report import formats
from labctl.report.rawfiles import Run


def machines(run: Run) -> list[tuple[str, str]]:
    """(hosts, description); hosts that are alike share a line."""
    described: dict[str, list[str]] = {}
    for host, facts in run.facts.items():
        described.setdefault(_describe(facts), []).append(host)
    return [(formats.names(hosts), text) for text, hosts in described.items()]


def _describe(facts: Mapping[str, Any]) -> str:
    """One line from the facts of collector `facts`; what it did not find out is left out."""
    processor, memory, cgroup = facts.get("processor"), facts.get("memtotal_mb"), facts.get("cgroup")
    model = processor[-1] if isinstance(processor, list) and processor else processor
    parts = [
        f"{facts.get('distribution') or ''} {facts.get('distribution_version') or ''}".strip(),
        _labelled("kernel", facts.get("kernel")),
        str(model or ""),
        _labelled("", facts.get("processor_vcpus"), " CPUs"),
        formats.quantity(memory * 2**20, "B") if isinstance(memory, int | float) else "",
        _labelled("cgroup ", cgroup.get("version") if isinstance(cgroup, Mapping) else None),
        *(_labelled(name, facts.get(f"{name}_version")) for name in ("containerd", "runc", "criu")),
        _labelled("virtualization", facts.get("virtualization_type")),
    ]
    return ", ".join(part for part in parts if part) or "no facts were gathered"


def _labelled(label: str, value: object, unit: str = "") -> str:
    return f"{label} {value}{unit}".strip() if isinstance(value, str | int | float) and value != "" else ""


def provenance(run: Run, trials: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What a reader needs to make the result again."""
    head = run.head
    found: list[tuple[str, str]] = []

    def add(label: str, value: object) -> None:
        if value not in (None, "", []):
            found.append((label, str(value)))

    argv = head.get("argv")
    add("command", shlex.join(["labctl", *map(str, argv)]) if isinstance(argv, list) else argv)
    version, commit = head.get("labctl"), head.get("commit")
    add("labctl", f"{version}, commit {commit}" if version and commit else version)
    add("run", run.folder.name)
    if isinstance(head.get("started"), int | float):
        add("started", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(head["started"])))
    if isinstance(head.get("started"), int | float) and isinstance(head.get("ended"), int | float):
        add("took", formats.quantity(head["ended"] - head["started"], "s"))
    cost = head.get("self")
    if isinstance(cost, Mapping) and isinstance(cost.get("cpu_seconds"), int | float):
        add("labctl itself used", formats.quantity(cost["cpu_seconds"], "CPU s"))
    for label, key in (
        ("profile", "profile"),
        ("runtime", "runtime"),
        ("volume", "volume"),
        ("seed", "seed"),
    ):
        values = {str(trial[key]) for trial in trials if trial.get(key) is not None}
        add(label, ", ".join(sorted(values)))
    add("order of trials", ", ".join(str(trial.get("strategy")) for trial in trials))
    for hosts, text in machines(run):
        add(hosts, text)
    return found


def one_machine(run: Run) -> bool:
    """Whether the nodes' kernels were started at the same moment, to 10 ms: then it is one kernel. A boot id
    does not tell, LXC gives each container its own."""
    clocks = [facts.get("clock") for facts in run.facts.values()]
    booted = [
        c["wall"] - c["monotonic"] for c in clocks if isinstance(c, dict) and "wall" in c and "monotonic" in c
    ]
    return len(booted) > 1 and len(booted) == len(run.facts) and max(booted) - min(booted) < 0.01
