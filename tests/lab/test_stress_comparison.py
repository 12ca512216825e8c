"""The comparison of migrations under a load on both nodes, and what its report says of that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "playbooks/migration_compare.yml"
LOAD = "cpu:40%,memory:32M,disk:1M/s,network:1M/s"
SMALL = (
    "-e",
    "pairs=1",
    "-e",
    "strategies=native,optimized",
    "-e",
    "process_seconds=1",
    "-e",
    "steps_before=10",
)


@pytest.fixture(scope="module")
def run(labctl, inventory_file, training_image, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loaded")
    done = labctl(
        "run", PLAYBOOK, "-i", inventory_file, "-e", f"load={LOAD}", *SMALL, cwd=folder, timeout=280
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return (folder / "runs/latest").resolve()


@pytest.fixture(scope="module")
def report(run) -> dict:
    return json.loads((run / "report.json").read_text())


def test_both_nodes_were_under_load_throughout_every_migration(report) -> None:
    nodes = {one["host"]: one for one in report["load"]["nodes"] if one["asked"]}
    assert set(nodes) == {"worker1", "worker2"}
    for one in nodes.values():
        assert one["asked"]["load"] == LOAD
        assert (one["ended"], one["wrong"]) == ("stopped", None)
        told = one["stressors"]
        assert 0 < told["cpu"]["cpu_seconds"] <= 0.42 * one["processors"] * told["cpu"]["seconds"]
        assert told["memory"]["held"] == 32_000_000
        for kind in ("disk", "network"):
            assert 0 < told[kind]["work"] / told[kind]["seconds"] < 1.5e6
    assert len(report["load"]["cpus_during"]) == len(report["trials"]) == 2
    assert all(report["load"]["cpus_during"].values())


def test_the_report_says_so(run, report) -> None:
    assert f"under background load on worker1 and worker2 ({LOAD})" in report["limits"][0]
    assert any("CPUs under native" in limit and "CPUs under optimized" in limit for limit in report["limits"])
    page = (run / "report.html").read_text()
    assert "background load" in page
    assert "load on worker2" in page


def test_its_figures_can_be_recomputed_all_the_same(run) -> None:
    command = [sys.executable, ROOT / "tests/unit/recompute.py", run]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_load_is_gone(run, node) -> None:
    for name in ("worker1", "worker2"):
        assert node(name).run(["pgrep", "-f", "--", "--plan"]).text() == ""


def test_a_misspelt_load_ends_the_run_before_anything_is_done(labctl, inventory_file, tmp_path) -> None:
    done = labctl("run", PLAYBOOK, "-i", inventory_file, "-e", "load=cpu:50%,memroy:1M", cwd=tmp_path)
    assert done.returncode == 6
    assert "there is no load 'memroy' in 'cpu:50%,memroy:1M' (did you mean 'memory'?)" in done.stdout
    assert "TASK [Load is understood]" in done.stdout
    assert done.stdout.count("TASK [") == 1
