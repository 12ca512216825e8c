"""FIXTURE DATA: writes a run folder whose searches for limits were made up by arithmetic, not measured.

For tests of the reducer and the renderers only: `python tests/unit/make_limits_run.py FOLDER`. A notebook of 1 core,
512 MiB and 256 MiB disk whose memory breaks above 450, 448 and 452 MiB in three repetitions (it needs 60 MiB itself),
whose disk holds 255 MiB, and whose second process gains nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

EPOCH = 1_700_000_000.0
MIB = 2**20
LIMITS = {"cpu": 1.0, "memory": 512 * MIB, "disk": 256 * MIB}
MEMORY_BREAKS = (450, 448, 452)
DISK_HOLDS = 255
OWN = 60  # MiB that the notebook needs itself
STEPS = {
    "cpu": [("ramp", n) for n in (1, 2, 3, 4)],
    "memory": [("ramp", n) for n in (64, 128, 192, 256, 320, 384, 448, 512)],
    "disk": [("ramp", n) for n in (32, 64, 96, 128, 160, 192, 224, 256)]
    + [("bisect", n) for n in (240, 248, 252, 254)],
}
BISECTED = {
    448: [480, 464, 456, 452, 450],  # the amounts of each repetition, by its largest good one of the ramp
    384: [416, 432, 440, 444, 446],
}


def memory_steps(repetition: int) -> list[tuple[str, int]]:
    breaks = MEMORY_BREAKS[repetition - 1]
    ramp = [n for _, n in STEPS["memory"]]
    upto = next(n for n in ramp if n >= breaks)
    good = upto - 64
    found = [("ramp", n) for n in ramp if n <= upto]
    low, high = good, upto
    while high - low > max(1, int(high * 0.01)):
        middle = (low + high) // 2
        found.append(("bisect", middle))
        low, high = (low, middle) if middle >= breaks else (middle, high)
    return found


def base(resource: str, requested: int, **more: Any) -> dict[str, Any]:
    return {
        "resource": resource, "requested": requested, "achieved": requested, "wall_s": 1.2, "work_s": 0.2, "usage": None, "limit": LIMITS[resource],
        "pct_of_limit": None, "memory": {"total": None, "anon": None, "file": None, "shmem": None, "kernel": None}, "throttled_pct": 0.0, "nr_throttled": 0,
        "nr_periods": 12, "psi_some_avg10": None, "psi_reason": "this kernel has no PSI", "swap_used": 0,
        "responsiveness_ms": {"p50": 4.0, "p95": 9.0, "max": 11.0, "count": 6, "timeouts": 0}, "throughput": None, "read_throughput": None,
        "per_worker_s": [], "per_worker_work": [], "survived": True, "death": None, "error": None, "restarted": None,
        **more,
    }  # fmt: skip


def cpu(number: int, repetition: int) -> dict[str, Any]:
    used = min(1.0, 0.98 + 0.01 * repetition) if number == 1 else 1.0
    p95 = 12.0 + 95.0 * (number - 1) + repetition
    return base(
        "cpu", number, usage=used, pct_of_limit=100 * used, throttled_pct=1.0 if number == 1 else 100.0 * (1 - 1 / number),
        nr_throttled=0 if number == 1 else 28, nr_periods=30, wall_s=3.1, throughput=200.0 + repetition + (3.0 if number > 1 else 0.0),
        responsiveness_ms={"p50": p95 / 3, "p95": p95, "max": p95 + 5, "count": 15, "timeouts": 0},
        per_worker_s=[3.0] * number, per_worker_work=[600.0 / number] * number,
    )  # fmt: skip


def memory(mebibytes: int, repetition: int) -> dict[str, Any]:
    breaks = MEMORY_BREAKS[repetition - 1]
    held = min(512, mebibytes + OWN)
    step = base(
        "memory", mebibytes * MIB, usage=held * MIB, pct_of_limit=100 * held / 512, throughput=(900.0 - 0.2 * mebibytes) * MIB,
        memory={"total": held * MIB, "anon": (held - 4) * MIB, "file": 2 * MIB, "shmem": 0, "kernel": 2 * MIB},
        responsiveness_ms={"p50": 4.0, "p95": 9.0 + 0.02 * mebibytes, "max": 30.0, "count": 6, "timeouts": 0},
    )  # fmt: skip
    if mebibytes >= breaks:
        death = {
            "what": "kernel", "cause": "oom", "signal": 9, "exit": None, "oom_kill": 1, "oom_group_kill": None, "errno": None,
            "detected_after_s": 0.01 + 0.001 * repetition, "wall": EPOCH, "mono": 0.0,
        }  # fmt: skip
        step |= {
            "survived": False,
            "death": death,
            "achieved": (breaks - 1) * MIB,
            "usage": 512 * MIB,
            "pct_of_limit": 100.0,
            "wall_s": 0.6,
        }
    return step


def disk(mebibytes: int, repetition: int) -> dict[str, Any]:
    held = min(mebibytes, DISK_HOLDS)
    step = base(
        "disk", mebibytes * MIB, achieved=held * MIB, usage=(held + 0.02) * MIB, pct_of_limit=100 * (held + 0.02) / 256,
        throughput=(250.0 - 5.0 * repetition) * MIB, read_throughput=800.0 * MIB,
    )  # fmt: skip
    if mebibytes > DISK_HOLDS:
        step |= {"error": {"errno": "ENOSPC", "message": "no space left on device"}}
    return step


MAKERS = {"cpu": cpu, "memory": memory, "disk": disk}
PLANS = {
    "cpu": {"start": 1, "step": 1, "max_steps": 4, "unit": "processes", "quantum": 1},
    "memory": {"start": 64 * MIB, "step": 64 * MIB, "max_steps": 12, "unit": "bytes", "quantum": MIB},
    "disk": {"start": 32 * MIB, "step": 32 * MIB, "max_steps": 12, "unit": "bytes", "quantum": MIB},
}


def journal(resource: str, repetitions: int, begin: float) -> list[dict[str, Any]]:
    plan = {
        "resource": resource,
        "seconds": 3.0 if resource == "cpu" else 1.0,
        "tolerance": 0.01,
        "repetitions": repetitions,
        "headroom": 0.2,
    }
    at = begin
    processes = {"boot": "b", "containers": {"notebook.client": 400, "other.web": 300}}
    lines: list[dict[str, Any]] = [
        {"event": "search", "wall": at, "resource": resource, "host": "worker1", "pod": "notebook", "container": "notebook", "profile": "quick",
         "plan": plan | PLANS[resource], "limits": LIMITS, "capacity": {"cpus": 2}, "oom_group": False},
        {"event": "neighbours", "wall": at, "when": "before", **processes},
    ]  # fmt: skip
    for repetition in range(1, repetitions + 1):
        steps = memory_steps(repetition) if resource == "memory" else STEPS[resource]
        for number, (phase, amount) in enumerate(steps, 1):
            record = MAKERS[resource](amount, repetition)
            place = {"repetition": repetition, "step": number}
            lines.append(
                {"event": "begin", "wall": at, **place, "phase": phase, "requested": record["requested"]}
            )
            at += record["wall_s"]
            lines.append({"event": "end", "wall": at, **place, "record": record})
    return [
        *lines,
        {"event": "neighbours", "wall": at, "when": "after", **processes},
        {"event": "done", "wall": at},
    ]


def make_run(run: Path, resources: tuple[str, ...] = ("cpu", "memory", "disk"), repetitions: int = 3) -> Path:
    (run / "limits").mkdir(parents=True)
    for index, resource in enumerate(resources):
        lines = journal(resource, repetitions, EPOCH + 10 + 100 * index)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run / "limits" / f"worker1-{resource}.jsonl").write_text(text)
    (run / "facts").mkdir()
    for host in ("worker1", "worker2"):
        facts = {
            "distribution": "Debian", "distribution_version": "12", "kernel": "6.1.0-fixture", "processor": ["0", "FixtureVendor", "Fixture CPU"],
            "processor_vcpus": 2, "memtotal_mb": 8192, "cgroup": {"version": 2}, "containerd_version": "1.7.24", "runc_version": "1.1.15",
            "clock": {"wall": EPOCH, "monotonic": 0.0},
        }  # fmt: skip
        (run / "facts" / f"{host}.json").write_text(json.dumps(facts))
    head = {"argv": ["run", "playbooks/notebook_limits.yml", "-i", "inventories/lab"], "playbooks": ["playbooks/notebook_limits.yml"],
            "inventory": ["inventories/lab"], "labctl": "0.1.0", "commit": "0" * 40, "started": EPOCH, "ended": EPOCH + 200.0, "exit_code": 0,
            "self": {"cpu_seconds": 5.0}}  # fmt: skip
    (run / "run.json").write_text(json.dumps(head))
    return run


if __name__ == "__main__":
    make_run(Path(sys.argv[1]))
