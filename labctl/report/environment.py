"""Where a result comes from: the machines, the versions, the command."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any

from labctl.report import formats
from labctl.report.rawfiles import Run

# (label, the ways a fact of this meaning is spelt, how it is shown)
_FACTS = (
    ("system", ("distribution_pretty", "os_pretty_name", "distribution", "os"), str),
    ("kernel", ("kernel", "kernel_release"), str),
    ("CPU", ("processor_model", "cpu_model", "processor"), str),
    ("CPUs", ("processor_vcpus", "cpus", "cpu_count"), str),
    ("memory", ("memory_total", "memory_total_bytes", "memtotal"), lambda v: formats.quantity(float(v), "B")),
    ("cgroup", ("cgroup_version",), str),
    ("containerd", ("containerd_version", "containerd"), str),
    ("runc", ("runc_version", "runc"), str),
    ("criu", ("criu_version", "criu"), str),
    ("virtualization", ("virtualization_type", "virtualization"), str),
)


def machines(run: Run) -> list[tuple[str, str]]:
    """(hosts, description); hosts that are alike share a line."""
    described: dict[str, list[str]] = {}
    for host, facts in run.facts.items():
        described.setdefault(_describe(facts), []).append(host)
    return [(formats.names(hosts), text) for text, hosts in described.items()]


def _describe(facts: Mapping[str, Any]) -> str:
    parts = []
    for label, spellings, shown in _FACTS:
        value = next((found for name in spellings if (found := _plain(facts, name)) is not None), None)
        if value is None:
            continue
        try:
            text = shown(value)
        except (TypeError, ValueError):
            continue
        parts.append(f"{label} {text}" if label not in ("system",) else text)
    return ", ".join(parts) or "no facts were gathered"


def _plain(facts: Mapping[str, Any], name: str) -> str | int | float | None:
    for key in (name, f"ansible_{name}"):
        value = facts.get(key)
        if isinstance(value, Mapping):
            value = value.get("version") or value.get("pretty") or value.get("name")
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            return value
    return None


def provenance(run: Run, trials: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What a reader needs to make the result again."""
    head = run.head
    found: list[tuple[str, str]] = []

    def add(label: str, value: object) -> None:
        if value not in (None, "", []):
            found.append((label, str(value)))

    argv = head.get("argv")
    add("command", shlex.join(map(str, argv)) if isinstance(argv, list) else argv)
    version, commit = head.get("labctl"), head.get("commit")
    add("labctl", f"{version}, commit {commit}" if version and commit else version)
    add("run", run.folder.name)
    if isinstance(head.get("started"), int | float):
        add("started", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(head["started"])))
    if isinstance(head.get("started"), int | float) and isinstance(head.get("ended"), int | float):
        add("took", formats.quantity(head["ended"] - head["started"], "s"))
    for label, key in (("profile", "profile"), ("runtime", "runtime"), ("volume", "volume"), ("seed", "seed")):
        values = {str(trial[key]) for trial in trials if trial.get(key) is not None}
        add(label, ", ".join(sorted(values)))
    add("order of trials", ", ".join(str(trial.get("strategy")) for trial in trials))
    for hosts, text in machines(run):
        add(hosts, text)
    return found
