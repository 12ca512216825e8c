"""A load beside a comparison, in its report. The raw files are made up by arithmetic (make_run.py), so every figure is known."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labctl import report
from labctl.report.migration import noisy_pairs
from labctl.report.rawfiles import read_run

ASKED = {"load": "cpu:50%,memory:64M,disk,network", "among": ["worker1", "worker2"], "processors": 1.0}


def make_run_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_run", Path(__file__).parent / "make_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = make_run_module()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(MADE.make_run(tmp_path_factory.mktemp("made") / "run"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


def bounds(run: Path) -> tuple[float, float]:
    heads = [json.loads(path.read_text()) for path in run.glob("trials/*/trial.json")]
    return min(head["started"] for head in heads) - 60, max(head["regained"] for head in heads) + 60


def worker(work: float, held: float, cpu: float, seconds: float) -> dict[str, Any]:
    return {"work": work, "checked": 0.0, "held": held, "cpu_seconds": cpu, "seconds": seconds, "ended": None}


def load(run: Path, host: str, cores: float = 0.49, *, until: float | None = None, **end: Any) -> Path:
    """A load of one cpu worker that uses `cores` throughout the run (or until then), and of the others."""
    start, last = bounds(run)
    last = until or last
    seconds = last - start
    stressors = {
        "cpu": {"unit": "rounds", "workers": 1, "load": 0.5},
        "memory": {"unit": "bytes written", "workers": 1},
        "disk": {"unit": "bytes written", "workers": 1},
        "network": {"unit": "bytes sent", "workers": 1, "to": ["10.0.0.2", 4711]},
    }
    head = {
        "type": "header", "program": "stress", "host": host, "asked": ASKED, "engine": "own", "cpus": 2,
        "container": None, "stressors": stressors, "mono": start - MADE.EPOCH, "wall": start,
    }  # fmt: skip
    lines = [head]
    for t in (start, last):
        rows = {"cpu": [[0, 0, 0, cores * (t - start)]], "memory": [[0, 0, 0, 0]]}
        rows |= {"disk": [[0, 0, 0, 0]], "network": [[0, 0, 0, 0]]}
        lines.append({"type": "work", "mono": t - MADE.EPOCH, "wall": t, "stressors": rows})
    did = {
        "cpu": [worker(5000 * seconds, 0, cores * seconds, seconds)],
        "memory": [worker(0, 64 << 20, 0.0, seconds)],
        "disk": [worker((10 << 20) * seconds, 0, 0.0, seconds)],
        "network": [worker((5 << 20) * seconds, 0, 0.0, seconds)],
    }
    extra = end.pop("events", [])
    last_line = {
        "type": "end",
        "mono": last - MADE.EPOCH,
        "wall": last,
        "reason": "stopped",
        "stressors": did,
        **end,
    }
    path = run / "load" / f"{host}.jsonl"
    path.parent.mkdir(exist_ok=True)
    MADE.lines(path, [*lines, *extra, last_line])
    return path


def limits(run: Path) -> str:
    return "\n".join(report.reduce(run).limits)


def test_a_run_without_a_load_says_nothing_of_one(run: Path) -> None:
    model = report.reduce(run)
    assert model.data["load"] is None
    assert "load" not in dict(model.provenance)
    assert "background load" not in "\n".join(model.limits) + model.subtitle


def test_the_environment_names_the_load_and_what_it_was_measured_to_be(run: Path) -> None:
    load(run, "worker1")
    load(run, "worker2", 0.5)
    model = report.reduce(run)
    rows = dict(model.provenance)
    assert rows["background load"] == f"{ASKED['load']} on worker1 and worker2"
    assert rows["load on worker1"].startswith(
        "0.490 CPUs (49\u202f% of the 1 it has to itself), 5000 rounds/s, 64 MiB"
    )
    assert (
        "10 MiB/s written to disk and read back (0 CPUs), 5 MiB/s sent to the other node"
        in rows["load on worker1"]
    )
    assert rows["load on worker2"].startswith("0.500 CPUs")
    assert f"under load {ASKED['load']}" in model.subtitle
    assert model.data["load"]["nodes"][0]["asked"] == ASKED
    assert model.data["load"]["cpus_during"] == {
        str(n): pytest.approx(0.99) for n in range(1, len(read_run(run).trials) + 1)
    }
    for form in ("md", "html"):
        assert "background load" in report.render(model, form)


def test_the_limits_say_under_what_load_each_strategy_ran(run: Path) -> None:
    load(run, "worker1")
    load(run, "worker2", 0.5)
    said = limits(run)
    assert (
        "The comparison ran under background load on worker1 and worker2 (cpu:50%,memory:64M,disk,network)"
        in said
    )
    assert "0.990 CPUs under native, 0.990 CPUs under optimized and 0.990 CPUs under live" in said
    assert "not the" not in said
    load(run, "worker2", 0.3)
    assert "The load on worker2 used 0.300 CPUs, not the 0.500 that were asked for" in limits(run)


def test_a_load_that_ended_too_early_is_said(run: Path) -> None:
    heads = sorted(
        (json.loads(path.read_text()) for path in run.glob("trials/*/trial.json")), key=lambda h: h["trial"]
    )
    load(run, "worker1", until=heads[-2]["regained"] + 1)
    said = limits(run)
    assert f"The load did not run throughout trial {heads[-1]['trial']}." in said
    death = {
        "type": "death",
        "mono": 1.0,
        "wall": MADE.EPOCH + 1,
        "stressor": "memory",
        "worker": 0,
        "signal": 9,
        "held": 5.0,
    }
    load(run, "worker1", events=[death])
    assert (
        "The load on worker1 was not what was asked for: memory worker 0 was ended by signal 9, holding 5."
        in limits(run)
    )


def test_a_file_that_cannot_be_read_is_named(run: Path) -> None:
    load(run, "worker1").write_text('{"type": "sample"}\n')
    assert "load/worker1.jsonl: it is not the file of a stressor" in limits(run)


@pytest.fixture
def apart(run: Path) -> Callable[[float], None]:
    """Gives worker2 a kernel of its own, on which something else uses so many CPUs."""

    def change(cores: float) -> None:
        for path in run.glob("trials/*/cgroup-worker2.jsonl"):
            records = [json.loads(line) for line in path.read_text().splitlines()]
            first = next(record["wall"] for record in records if record["type"] == "sample")
            for record in records:
                if "mono" in record:
                    record["mono"] += 5000
                if record["type"] == "sample":
                    record["node"]["cpu"][0] += round(100 * cores * (record["wall"] - first))
            MADE.lines(path, records)

    return change


def test_a_load_that_was_asked_for_is_no_disturbance(run: Path, apart: Callable[[float], None]) -> None:
    disturbed = noisy_pairs(read_run(run))
    apart(0.5)
    everything = sorted({trial.pair for trial in read_run(run).trials if not trial.head.get("error")})
    assert noisy_pairs(read_run(run)) == everything != disturbed
    load(run, "worker2", 0.5)
    assert noisy_pairs(read_run(run)) == disturbed
    load(run, "worker1", 0.5)  # the load of another machine takes nothing off this one's
    (run / "load/worker2.jsonl").unlink()
    assert noisy_pairs(read_run(run)) == everything
