"""FIXTURE DATA: writes a run folder whose trials were made up by arithmetic, not measured.

For tests of the reducer and the renderers only: `python tests/unit/make_run.py FOLDER`. The curves are
simple enough for every figure to be known in advance: constant CPU shares, constant memory, one outage.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

EPOCH = 1_700_000_000.0
MIB = 2**20
STEP_RATE = 30.0
WINDOW = 2.5
CPU = {"tensorflow-trainer": 0.6, "data-processor": 0.3, "model-monitor": 0.01}
MEMORY = {"tensorflow-trainer": 70 * MIB, "data-processor": 30 * MIB, "model-monitor": 12 * MIB}
POD = "tensorflow-ai-workload"
STEP = 120  # where the trainer is when each migration starts
PHASES = {
    "native": [("delete", 0.6), ("apply", 0.3), ("ready", 0.4)],
    "optimized": [("inspect", 0.1), ("save", 0.2), ("create", 0.5), ("ready", 0.4), ("remove source", 0.3)],
    "live": [("checkpoint", 0.3), ("transfer", 0.1), ("restore", 0.5)],
}
SERVICE_OUT = {"native": (0.1, 1.2), "optimized": (0.9, 1.0), "live": (0.05, 0.85)}


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def lines(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


class TrialMaker:
    """One made-up migration. Everything before `t0` runs on the source, everything after `t1` on the target."""

    def __init__(self, number: int, pair: int, strategy: str, wobble: float) -> None:
        self.number, self.pair, self.strategy, self.wobble = number, pair, strategy, wobble
        self.begin = EPOCH + 100.0 * number
        self.t0 = self.begin + WINDOW + 1.0
        self.stretch = 1 + 4 * wobble * (1 if strategy == "native" else -1.5)
        self.t1 = self.t0 + sum(seconds for _, seconds in PHASES[strategy]) * self.stretch
        self.lost = STEP if strategy == "native" else 0
        self.regained = self.t1 + (self.lost / STEP_RATE + 0.5 if strategy == "native" else 0.2)
        self.after = self.regained if strategy != "native" else self.t1 + 1.0
        self.end = max(self.regained, self.after + WINDOW) + 0.5

    def running(self, container: str, host: str, at: float) -> bool:
        if container == "data-processor":
            return host == "worker2" and self.strategy == "native" and self.t1 - 0.4 <= at < self.t1 + 4.0
        if host == "worker1":
            return at < self.t0 + 0.2
        return at >= self.t1 - 0.4

    def rate(self, container: str) -> float:
        return CPU[container] * (1 + self.wobble * (1 if self.strategy == "native" else 0.5))

    def snapshots(self, host: str) -> list[dict[str, Any]]:
        used = dict.fromkeys(CPU, 0.0)
        records: list[dict[str, Any]] = [
            {
                "type": "header",
                "host": host,
                "version": 2,
                "interval": 0.1,
                "cpus": 2,
                "clock_ticks": 100,
                "boot_id": "fixture",
                "pid": 1,
            }
        ]
        count = round((self.end - self.begin) / 0.1)
        busy = 0.0
        for index in range(count + 1):
            at = self.begin + 0.1 * index
            containers = {}
            for name in CPU:
                if index and self.running(name, host, at - 0.1):
                    used[name] += 0.1 * self.rate(name)
                if self.running(name, host, at) or (index and self.running(name, host, at - 0.1)):
                    containers[f"{POD}/{name}"] = self.container(name, used[name])
                elif index and self.running(name, host, at - 0.2):
                    last = {"cpu_usec": round(used[name] * 1e6)}
                    records.append(
                        {
                            "type": "gone",
                            "mono": at - 0.02 - EPOCH,
                            "wall": at - 0.02,
                            "container": f"{POD}/{name}",
                            "last": last,
                            "missed_usec": 0,
                        }
                    )
            busy = sum(used.values())
            node = {
                "cpu": [int(busy * 100), 0, 5, int((2 * 0.1 * index - busy) * 100), 0, 0, 0, 0],
                "own_usec": round(busy * 1e6),
                "mem_available": 4 << 30,
                "pswpin": 0,
                "pswpout": 0,
            }
            records.append(
                {
                    "type": "sample",
                    "mono": at - EPOCH,
                    "wall": at,
                    "took": 0.0004,
                    "node": node,
                    "containers": containers,
                }
            )
        records.append(
            {
                "type": "end",
                "mono": self.end - EPOCH,
                "wall": self.end,
                "samples": count + 1,
                "late": 0,
                "missed": 0,
                "cpu_seconds": 0.05,
                "wall_seconds": self.end - self.begin,
            }
        )
        return records

    def container(self, name: str, used: float) -> dict[str, Any]:
        memory = MEMORY[name]
        return {
            "cpu_usec": round(used * 1e6), "user_usec": round(used * 9e5), "system_usec": round(used * 1e5), "periods": 100, "throttled": 0, "throttled_usec": 0,
            "memory": memory, "peak": memory + MIB, "anon": memory - 8 * MIB, "file": 8 * MIB, "inactive_file": 5 * MIB, "shmem": 0, "kernel": MIB, "oom_kills": 0, "pids": 1,
            "psi": {"cpu_some": 0, "memory_some": 0, "memory_full": 0, "io_some": 0},
        }  # fmt: skip

    def step_at(self, at: float) -> int | None:
        """What the service answers, None when it does not."""
        out, back = SERVICE_OUT[self.strategy]
        if self.t0 + out <= at < self.t0 + back:
            return None
        if at < self.t0 + back:
            return STEP + int(max(-STEP, min(at - self.t0, 0.0)) * STEP_RATE)
        if self.strategy == "native":
            return int(max(0.0, at - self.t1) * STEP_RATE)
        return STEP + int(max(0.0, at - self.t1) * STEP_RATE)

    def probes(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = [
            {
                "type": "header",
                "host": "master",
                "period": 0.02,
                "timeout": 0.25,
                "url": "http://pod/progress",
            }
        ]
        count, failed = round((self.end - self.begin) / 0.02), 0
        for number in range(count):
            at = round(self.begin + 0.02 * number, 6)
            step = self.step_at(at)
            record: dict[str, Any] = {
                "type": "probe",
                "n": number,
                "wall": at,
                "mono": at - EPOCH,
                "ok": step is not None,
            }
            if step is None:
                failed += 1
                record["error"] = "timeout"
            else:
                again = self.strategy == "native" and self.t0 < at < self.t1 + 4.0
                boot = "b" if self.strategy != "live" and at > self.t0 + 1.0 else "a"
                record |= {
                    "ms": 1.1,
                    "step": step,
                    "completed": [] if again else ["data-processor"],
                    "boot": boot,
                }
            records.append(record)
        return [*records, {"type": "end", "sent": count, "failed": failed, "late": 0, "cpu_seconds": 0.1}]

    def steps(self) -> list[dict[str, Any]]:
        boots = "a" if self.strategy == "live" else "b"
        records: list[dict[str, Any]] = [
            {
                "event": "start",
                "step": 0,
                "sha256": sha(0),
                "wall": self.t0 - STEP / STEP_RATE,
                "boot": "a",
                "host": POD,
            }
        ]
        records += [
            self.step(step, self.t0 - (STEP - step) / STEP_RATE, "a") for step in range(STEP - 20, STEP + 1)
        ]
        if self.strategy == "optimized":
            records.append(
                {
                    "event": "save",
                    "step": STEP,
                    "sha256": sha(STEP),
                    "wall": self.t0 + 0.2,
                    "boot": "a",
                    "host": POD,
                }
            )
        if self.strategy != "live":
            kind = "start" if self.strategy == "native" else "resume"
            at = 0 if self.strategy == "native" else STEP
            records.append(
                {
                    "event": kind,
                    "step": at,
                    "sha256": sha(at),
                    "wall": self.t1 - 0.1,
                    "boot": "b",
                    "host": POD,
                }
            )
        first = 1 if self.strategy == "native" else STEP + 1
        last = first + int((self.end - self.t1) * STEP_RATE)
        records += [
            self.step(step, self.t1 + (step - first) / STEP_RATE, boots) for step in range(first, last)
        ]
        return records

    def step(self, step: int, at: float, boot: str) -> dict[str, Any]:
        return {
            "event": "step",
            "step": step,
            "from": sha(step - 1),
            "to": sha(step),
            "loss": 1.0,
            "wall": at,
            "boot": boot,
            "host": POD,
        }

    def head(self) -> dict[str, Any]:
        native, at = self.strategy == "native", self.t0
        phases = []
        for name, seconds in PHASES[self.strategy]:
            phases.append({"name": name, "start": at, "end": at + seconds * self.stretch})
            at += seconds * self.stretch
        moved = (
            []
            if native
            else [
                {
                    "what": "state of tensorflow-trainer",
                    "bytes": 410_698 if self.strategy == "optimized" else 26 * MIB,
                }
            ]
        )
        state = {"state": "running", "exit_code": None, "reason": None}
        done = {"state": "terminated", "exit_code": 0, "reason": "Completed"}
        before = {"tensorflow-trainer": state, "data-processor": done, "model-monitor": state}
        after = (
            {**before, "data-processor": state}
            if native
            else {k: v for k, v in before.items() if k != "data-processor"}
        )
        return {
            "trial": self.number, "pair": self.pair, "strategy": self.strategy, "profile": "quick", "pod": POD, "source": "worker1", "target": "worker2",
            "runtime": "containerd", "volume": "shared-directory", "seed": 7, "offset": {"worker1": 0.0, "worker2": 0.0, "master": 0.0},
            "started": self.t0, "ended": self.t1, "phases": phases, "regained": self.regained, "regained_reason": None,
            "progress_at_start": {"step": STEP, "completed": ["data-processor"]}, "moved_bytes": sum(m["bytes"] for m in moved), "moved": moved,
            "state": {"before": {"step": STEP, "sha256": sha(STEP)}, "after": {"step": 0 if native else STEP, "sha256": sha(0 if native else STEP)}, "continued": not native},
            "steps_redone": self.lost, "restarted": [*CPU] if native else [c for c in CPU if c != "data-processor"] if self.strategy == "optimized" else [],
            "not_restarted": [] if native else ["data-processor"] if self.strategy == "optimized" else ["tensorflow-trainer", "data-processor", "model-monitor"],
            "containers": {"before": before, "after": after},
            "windows": {"before": [self.begin + 0.5, self.begin + 0.5 + WINDOW], "after": [self.after, self.after + WINDOW]}, "error": None,
        }  # fmt: skip

    def write(self, run: Path) -> Path:
        folder = run / "trials" / f"{self.number:02}-{self.strategy}-{self.pair}"
        folder.mkdir(parents=True)
        (folder / "trial.json").write_text(json.dumps(self.head(), indent=1))
        for host in ("worker1", "worker2"):
            lines(folder / f"cgroup-{host}.jsonl", self.snapshots(host))
        lines(folder / "probe.jsonl", self.probes())
        lines(folder / "steps.jsonl", self.steps())
        return folder


def make_run(
    run: Path, strategies: tuple[str, ...] = ("native", "optimized", "live"), pairs: int = 3
) -> Path:
    """A run of `pairs` blocks, each with every strategy, in ABBA order."""
    number = 0
    for pair in range(1, pairs + 1):
        for strategy in strategies if pair % 2 else reversed(strategies):
            number += 1
            TrialMaker(number, pair, strategy, wobble=0.01 * (pair - 2)).write(run)
    (run / "facts").mkdir()
    for host in ("master", "worker1", "worker2"):
        facts = {
            "distribution": "Debian", "distribution_version": "12", "kernel": "6.1.0-fixture", "processor": ["0", "FixtureVendor", "Fixture CPU"],
            "processor_vcpus": 2, "memtotal_mb": 8192, "cgroup": {"version": 2}, "containerd_version": "1.7.24", "runc_version": "1.1.15", "criu_version": None,
            "clock": {"wall": EPOCH, "monotonic": 0.0},
        }  # fmt: skip
        (run / "facts" / f"{host}.json").write_text(json.dumps(facts))
    head = {"argv": ["run", "playbooks/migration_compare.yml", "-i", "inventories/lab"], "playbooks": ["playbooks/migration_compare.yml"],
            "inventory": ["inventories/lab"], "labctl": "0.1.0", "commit": "0" * 40, "started": EPOCH, "ended": EPOCH + 200.0, "exit_code": 0,
            "self": {"cpu_seconds": 11.0}}  # fmt: skip
    (run / "run.json").write_text(json.dumps(head))
    return run


if __name__ == "__main__":
    make_run(Path(sys.argv[1]))
