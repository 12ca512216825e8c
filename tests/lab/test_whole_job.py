"""The main job on the session's nodes: predicted by a dry run, killed half-way, run again, recomputed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "playbooks/migration_compare.yml"
STRATEGIES = ("native", "optimized", "live")
WATCHED = "/etc /srv/shared /opt /run/labctl /var/lib/labctl /var/log/pods /usr/local /root"


def listing(node) -> dict[str, str]:
    """Every file below WATCHED with its size, mode and time, and every container, on each node."""
    command = (
        f"find {WATCHED} -printf '%p %y %s %m %T@\\n' 2>/dev/null | sort;"
        " ctr -n labctl containers ls -q | sort; ctr -n labctl images ls -q | sort; ip netns list"
    )
    return {name: node(name).run(["sh", "-c", command]).text() for name in ("master", "worker1", "worker2")}


def programs(node) -> set[tuple[str, str]]:
    """(node, pid) of every Python process that is not inside a container: agents and collectors."""
    found = set()
    for name in ("master", "worker1", "worker2"):
        for line in (
            node(name).run(["ps", "-eo", "pid,args,cgroup", "--no-headers", "-ww"]).text().splitlines()
        ):
            if "python3" in line and "tensorflow-ai-workload" not in line:
                found.add((name, line.split()[0]))
    return found


def test_dry_run_changes_nothing(node, labctl, inventory_file, training_image, tmp_path):
    labctl("run", ROOT / "playbooks/provision.yml", "-i", inventory_file, cwd=tmp_path)
    before = listing(node)
    done = labctl("run", PLAYBOOK, "-i", inventory_file, "--dry-run", "-e", "pairs=1", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert listing(node) == before
    recap = done.stdout.split("PLAY RECAP")[1]
    assert "unknown=" in recap
    assert "would change" in done.stdout
    assert not list(tmp_path.glob("runs/*/report.json"))


@pytest.fixture(scope="module")
def killed(node, inventory_file, training_image, tmp_path_factory) -> set[tuple[str, str]]:
    """A run that was SIGKILLed in the middle of a migration; what was running on the nodes before it."""
    folder = tmp_path_factory.mktemp("killed")
    before = programs(node)
    run = subprocess.Popen(
        [sys.executable, "-m", "labctl", "run", str(PLAYBOOK), "-i", str(inventory_file), "-e", "pairs=1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(
            lambda: any('"phase"' in path.read_text() for path in folder.glob("runs/latest/events.jsonl")),
            120,
            "no migration began",
        )
        assert programs(node) - before
    finally:
        run.kill()
        run.wait()
    return before


def test_sigkill_in_a_migration_leaves_no_process(killed, node):
    eventually(lambda: not programs(node) - killed, 5, "a process outlived its controller by 5 s")


@pytest.fixture(scope="module")
def report(killed, labctl, inventory_file, tmp_path_factory) -> tuple[Path, dict]:
    """The next run, whole: its folder and its report.json."""
    folder = tmp_path_factory.mktemp("job")
    done = labctl("run", PLAYBOOK, "-i", inventory_file, "-e", "pairs=1", cwd=folder, timeout=280)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    run = (folder / "runs/latest").resolve()
    return run, json.loads((run / "report.json").read_text())


def test_every_trial_is_measured(report):
    _, found = report
    assert sorted(trial["strategy"] for trial in found["trials"]) == sorted(STRATEGIES)
    for trial in found["trials"]:
        assert trial["error"] is None
        for metric in (
            *("cpu_seconds_until_regained", "cpu_millicores_source", "memory_mib_source", "working_set_mib"),
            *("downtime_seconds", "pause_seconds", "regained_seconds", "migration_seconds"),
            *("steps_redone", "moved_bytes"),
        ):
            assert trial["values"][metric] is not None, (
                trial["strategy"],
                metric,
                trial["reasons"].get(metric),
            )
        assert trial["phases"]
        assert trial["state"]["before"]["sha256"]
        assert trial["state"]["after"]["sha256"]


def test_what_each_strategy_must_do(report):
    _, found = report
    trials = {trial["strategy"]: trial for trial in found["trials"]}
    assert trials["native"]["values"]["steps_redone"] > 0
    assert "data-processor" in trials["native"]["restarted"]
    assert not trials["native"]["state"]["continued"]
    for strategy in ("optimized", "live"):
        assert "data-processor" not in trials[strategy]["restarted"]
        assert trials[strategy]["state"]["continued"]
        assert trials[strategy]["state"]["before"]["sha256"] == trials[strategy]["state"]["after"]["sha256"]
    assert trials["live"]["values"]["steps_redone"] == 0
    assert all(claim["holds"] is not False for claim in found["claims"]), found["claims"]


def test_pairs_are_compared(report):
    _, found = report
    compared = {(c["baseline"], c["strategy"]) for c in found["comparisons"]}
    assert {("native", "optimized"), ("native", "live"), ("optimized", "live")} <= compared
    for comparison in found["comparisons"]:
        assert {"ratio", "low", "high", "n", "verdict", "reason"} <= set(comparison)


def test_every_figure_can_be_recomputed(report):
    run, _ = report
    done = subprocess.run(
        [sys.executable, ROOT / "tests/unit/recompute.py", run], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_is_kept(report):
    run, _ = report
    names = {path.name for path in run.iterdir()}
    assert {"events.jsonl", "run.json", "facts", "logs", "trials"} <= names
    assert {"report.json", "report.csv", "report.md", "report.html"} <= names
    assert {path.stem for path in (run / "facts").glob("*.json")} == {"master", "worker1", "worker2"}
    for trial in (run / "trials").iterdir():
        kept = {path.name for path in trial.iterdir()}
        assert {
            "trial.json",
            "steps.jsonl",
            "probe.jsonl",
            "cgroup-worker1.jsonl",
            "cgroup-worker2.jsonl",
        } <= kept
        assert list((trial / "logs").iterdir())
    page = (run / "report.html").read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
