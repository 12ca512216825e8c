"""From raw files to figures. The raw files are the made-up ones of make_run.py, whose figures are known."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from labctl import report
from labctl.errors import UsageError
from labctl.report.model import Model
from labctl.task_types import Context, Registry
from tests.unit.make_run import make_run

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture(scope="module")
def model(made: Path) -> Model:
    return report.reduce(made)


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def trial(model: Model, number: int) -> dict[str, Any]:
    return next(t for t in model.data["trials"] if t["trial"] == number)


def comparison(model: Model, metric: str, strategy: str, baseline: str = "native") -> dict[str, Any]:
    wanted = (metric, strategy, baseline)
    return next(c for c in model.data["comparisons"] if (c["metric"], c["strategy"], c["baseline"]) == wanted)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    head = json.loads((folder / "trial.json").read_text())
    change(head)
    (folder / "trial.json").write_text(json.dumps(head))


# ------------------------------------------------------------ known answers


def test_the_figures_of_a_trial_are_those_it_was_made_with(model: Model) -> None:
    native = trial(model, 6)["values"]  # pair 2: no scatter
    assert native["cpu_millicores_source"] == pytest.approx(910)
    assert native["memory_mib_source"] == 112
    assert native["working_set_mib"] == 112 - 3 * 5
    assert native["anon_mib"] == 112 - 3 * 8
    assert native["peak_mib"] == 115
    assert native["migration_seconds"] == pytest.approx(1.3)
    assert native["regained_seconds"] == pytest.approx(5.8)
    assert native["downtime_seconds"] == pytest.approx(1.12, abs=0.021)
    assert native["pause_seconds"] == pytest.approx(1.3)
    assert native["steps_redone"] == 120
    # 0.2 s on the source, from ready less 0.4 s on the target; the processor for 4.4 s
    assert native["cpu_seconds_until_regained"] == pytest.approx(0.61 * (0.2 + 4.9) + 0.3 * 4.4, abs=0.07)
    optimized = trial(model, 5)["values"]
    assert optimized["cpu_millicores_source"] == pytest.approx(610)
    assert optimized["memory_mib_source"] == 82
    assert optimized["pause_seconds"] == pytest.approx(1.5)
    assert (optimized["moved_bytes"], optimized["steps_redone"]) == (410_698, 0)


def test_every_figure_can_be_recomputed_by_a_program_that_knows_only_the_formats(run: Path) -> None:
    report.write(report.reduce(run), run)
    command = [sys.executable, str(HERE / "recompute.py"), str(run)]
    agreed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert agreed.returncode == 0, agreed.stdout + agreed.stderr
    data = json.loads((run / "report.json").read_text())
    data["comparisons"][0]["low"] += 0.001
    data["trials"][3]["values"]["anon_mib"] *= 1.001
    (run / "report.json").write_text(json.dumps(data))
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert len(refused.stdout.splitlines()) == 2


def test_strategies_are_compared_pair_by_pair_and_judged_by_the_whole_interval(model: Model) -> None:
    cpu = comparison(model, "cpu_seconds_until_regained", "optimized")
    assert (cpu["n"], cpu["pairs"], cpu["verdict"]) == (3, [1, 2, 3], "pass")
    assert cpu["low"] < cpu["reduction"] < cpu["high"]
    assert cpu["reduction"] == pytest.approx(1 - cpu["ratio"])
    slower = comparison(model, "migration_seconds", "optimized")
    assert slower["reduction"] < 0
    assert slower["verdict"] == "fail"
    assert comparison(model, "migration_seconds", "live")["verdict"] == "not shown"
    moved = comparison(model, "moved_bytes", "live")
    assert (moved["ratio"], moved["low"], moved["verdict"], moved["reason"]) == (
        None,
        None,
        None,
        "the baseline is 0",
    )
    assert {(c["baseline"], c["strategy"]) for c in model.data["comparisons"]} == {
        ("native", "optimized"),
        ("native", "live"),
        ("optimized", "live"),
    }


def test_another_target_gives_another_verdict_and_is_remembered(run: Path) -> None:
    strict = report.reduce(run, target=0.5)
    assert comparison(strict, "cpu_millicores_source", "live")["verdict"] == "fail"
    report.write(strict, run)
    assert report.reduce(run).data["target"] == 0.5


def test_a_real_run_is_reduced_and_recomputed(tmp_path: Path) -> None:
    """Raw files of a real run on three embedded nodes of a busy machine (data/run-small.tar.xz)."""
    with tarfile.open(HERE / "data" / "run-small.tar.xz") as archive:
        archive.extractall(tmp_path)
    run = tmp_path / "run-small"
    model = report.reduce(run)
    report.write(model, run)
    recomputed = subprocess.run(
        [sys.executable, str(HERE / "recompute.py"), str(run)], capture_output=True, text=True, check=False
    )
    assert recomputed.returncode == 0, recomputed.stdout + recomputed.stderr
    assert [claim.holds for claim in model.claims] == [True] * len(model.claims)
    assert comparison(model, "cpu_seconds_until_regained", "optimized")["verdict"] == "pass"
    assert trial(model, 2)["downtime"]["failed_probes"] == 0
    assert any("one machine and one kernel" in limit for limit in model.limits)
    assert any("CPU was used by others" in limit for limit in model.limits)


def test_an_outage_while_the_source_is_removed_counts_although_progress_is_regained(run: Path) -> None:
    folder = next((run / "trials").glob("05-optimized-*"))
    head = json.loads((folder / "trial.json").read_text())
    records = [json.loads(line) for line in (folder / "probe.jsonl").read_text().splitlines()]
    for record in records:
        if head["regained"] + 0.5 < record.get("wall", 0.0) < head["regained"] + 1.0:
            record |= {"ok": False, "error": "timeout"}
    (folder / "probe.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert trial(report.reduce(run), 5)["values"]["downtime_seconds"] == pytest.approx(0.1, abs=0.041)
    edit(folder, lambda head: head.update(ended=head["regained"] + 1.5))
    model = report.reduce(run)
    assert trial(model, 5)["values"]["downtime_seconds"] == pytest.approx(0.5, abs=0.041)
    report.write(model, run)
    assert load("recompute").check(run)[0] == []


# ------------------------------------------------------------ claims


def test_the_claims_hold_for_the_run_that_bears_them_out(model: Model) -> None:
    assert {claim.holds for claim in model.claims} == {True}
    texts = [claim.text for claim in model.claims]
    assert "native runs the completed container again" in texts
    assert "live redoes no step" in texts


def test_a_claim_that_one_run_contradicts_is_false_and_names_the_run(run: Path) -> None:
    folder = next((run / "trials").glob("05-optimized-*"))
    edit(folder, lambda head: head["state"]["after"].update(sha256="f" * 64))
    log = (folder / "steps.jsonl").read_text().splitlines()
    (folder / "steps.jsonl").write_text("\n".join([*log, log[-1]]) + "\n")
    claims = {claim.text: claim for claim in report.reduce(run).claims}
    hash_claim = claims["optimized continues from the very state it saved"]
    assert hash_claim.holds is False
    assert "1 of 3 runs" in hash_claim.evidence
    assert "Trial 5" in hash_claim.evidence
    assert claims["optimized redoes no step"].holds is False


def test_a_container_said_not_to_run_again_but_seen_using_cpu_contradicts_the_claim(run: Path) -> None:
    folder = next((run / "trials").glob("03-live-*"))
    path = folder / "cgroup-worker2.jsonl"
    text = path.read_text().replace(
        "tensorflow-ai-workload/model-monitor", "tensorflow-ai-workload/data-processor"
    )
    path.write_text(text)
    claims = {claim.text: claim.holds for claim in report.reduce(run).claims}
    assert claims["live does not run the completed container again"] is False


def test_without_the_trainers_log_the_claims_about_it_are_undecided(run: Path) -> None:
    for path in run.glob("trials/*-live-*/steps.jsonl"):
        path.unlink()
    claims = {claim.text: claim for claim in report.reduce(run).claims}
    assert claims["live moves the running process: it is not started again"].holds is None


# ------------------------------------------------------------ what is missing is said


def test_a_failed_trial_counts_in_no_comparison_and_is_said(run: Path) -> None:
    folder = next((run / "trials").glob("02-optimized-*"))
    edit(folder, lambda head: head.update(error="the target is full", regained=None))
    model = report.reduce(run)
    assert set(trial(model, 2)["values"].values()) == {None}
    found = comparison(model, "migration_seconds", "optimized")
    assert found["pairs"] == [2, 3]
    assert "trial 2 failed" in found["left_out"]["1"]
    assert any("Trial 2 (optimized) failed" in limit for limit in model.limits)


def test_a_trial_that_never_ended_is_a_failed_one(run: Path) -> None:
    folder = next((run / "trials").glob("09-live-*"))
    (folder / "trial.json").write_text('{"trial": 9, "pa')
    model = report.reduce(run)
    assert trial(model, 9)["strategy"] == "live"
    assert "did not end" in trial(model, 9)["error"]


@pytest.mark.parametrize(
    ("lost", "metric", "reason"),
    [
        ("probe.jsonl", "downtime_seconds", "no readable probe"),
        ("cgroup-*.jsonl", "cpu_seconds_until_regained", "no readable cgroup recording"),
        ("cgroup-*.jsonl", "memory_mib_source", "no readable cgroup recording"),
    ],
)
def test_without_a_raw_file_its_figures_are_null_with_the_reason(
    run: Path, lost: str, metric: str, reason: str
) -> None:
    for path in next((run / "trials").glob("01-native-*")).glob(lost):
        path.unlink()
    model = report.reduce(run)
    assert trial(model, 1)["values"][metric] is None
    assert reason in trial(model, 1)["reasons"][metric]
    assert any(reason in limit for limit in model.limits)
    assert trial(model, 1)["values"]["migration_seconds"] == pytest.approx(1.248)


def test_one_nodes_recording_does_not_pass_for_both(run: Path) -> None:
    folder = next((run / "trials").glob("01-native-*"))
    (folder / "cgroup-worker1.jsonl").unlink()
    model = report.reduce(run)
    for metric in ("cpu_seconds_until_regained", "cpu_millicores_source", "memory_mib_before"):
        assert trial(model, 1)["values"][metric] is None
        assert trial(model, 1)["reasons"][metric] == "there is no readable cgroup recording of worker1"
    report.write(model, run)
    assert load("recompute").check(run)[0] == []


def test_a_recording_that_stops_in_the_middle_gives_no_figure_for_what_it_missed(run: Path) -> None:
    path = next((run / "trials").glob("01-native-*")) / "cgroup-worker2.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[: len(lines) * 2 // 3]) + '\n{"type": "sam')
    values = trial(report.reduce(run), 1)
    assert values["values"]["cpu_seconds_until_regained"] is None
    assert "worker2" in values["reasons"]["cpu_seconds_until_regained"]
    assert values["values"]["cpu_millicores_before"] == pytest.approx(604, abs=2)


def test_progress_that_was_not_regained_has_the_reason_of_the_trial(run: Path) -> None:
    folder = next((run / "trials").glob("01-native-*"))
    edit(folder, lambda head: head.update(regained=None, regained_reason="timed out after 60 s"))
    reasons = trial(report.reduce(run), 1)["reasons"]
    assert reasons["regained_seconds"] == "timed out after 60 s"
    assert reasons["cpu_seconds_until_regained"] == "progress was not regained"


def test_windows_that_were_not_taken_are_null(run: Path) -> None:
    for folder in (run / "trials").iterdir():
        edit(folder, lambda head: head.update(windows={}))
    model = report.reduce(run)
    assert "no window after" in trial(model, 4)["reasons"]["cpu_millicores_source"]
    assert report.render(model, "html")


def test_every_damage_still_gives_all_formats(run: Path) -> None:
    for path in run.glob("trials/*/cgroup-worker1.jsonl"):
        path.write_text("not JSON\n" + path.read_text())
    for path in run.glob("trials/*/probe.jsonl"):
        path.write_text("")
    (run / "run.json").unlink()
    model = report.reduce(run)
    assert any("cgroup-worker1.jsonl" in limit for limit in model.limits)
    assert [path.name for path in report.write(model, run)] == [
        "report.json",
        "report.csv",
        "report.md",
        "report.html",
    ]


def test_one_strategy_alone_is_reported_without_a_comparison(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ("optimized",), 1)
    model = report.reduce(run)
    assert model.data["comparisons"] == []
    assert "nothing to compare" in model.findings[0].text
    assert report.render(model, "html")


# ------------------------------------------------------------ disturbed machines


def disturb(folder: Path) -> None:
    """Half of all CPU time goes to someone else."""
    for path in folder.glob("cgroup-*.jsonl"):
        records = [json.loads(line) for line in path.read_text().splitlines()]
        for index, record in enumerate(records):
            if record["type"] == "sample":
                record["node"]["cpu"][0] += index * 10
        path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_a_disturbed_pair_is_left_out_while_enough_others_remain(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", ("native", "optimized"), 4)
    disturb(next((run / "trials").glob("04-native-*")))
    model = report.reduce(run)
    assert [t["trial"] for t in model.data["trials"] if not t["clean"]] == [4]
    found = comparison(model, "cpu_millicores_source", "optimized")
    assert found["pairs"] == [1, 3, 4]
    assert found["left_out"] == {"2": "the machine was disturbed"}
    assert any(limit.startswith("Trial 4: CPU was used by others") for limit in model.limits)


def test_with_too_few_undisturbed_pairs_all_count_and_the_report_says_so(run: Path) -> None:
    disturb(next((run / "trials").glob("01-native-*")))
    model = report.reduce(run)
    found = comparison(model, "cpu_millicores_source", "optimized")
    assert (found["pairs"], found["noisy_pairs"]) == ([1, 2, 3], [1])
    assert any("Too few undisturbed pairs" in limit for limit in model.limits)


def test_a_pair_that_was_run_again_counts_once_by_its_last_run(run: Path) -> None:
    first = next((run / "trials").glob("01-native-*"))
    again = Path(shutil.copytree(first, run / "trials" / "10-native-1"))
    edit(again, lambda head: head.update(trial=10, steps_redone=333))
    model = report.reduce(run)
    assert len(model.data["trials"]) == 10
    assert model.data["strategies"]["native"]["trials"] == [10, 6, 7]
    assert comparison(model, "steps_redone", "live")["n"] == 3


def test_a_disturbed_pair_is_run_again_until_it_is_quiet_or_failed(run: Path) -> None:
    def noisy() -> dict[str, Any]:
        task = Registry().get("noisy_pairs")
        values = task.run(task.bind({}, lambda _: None), cast(Context, SimpleNamespace(run_dir=run)))
        assert isinstance(values, dict)
        return values

    assert (noisy()["pairs"], noisy()["last"]) == ([], 9)
    first = next((run / "trials").glob("01-native-*"))
    quiet = shutil.copytree(first, run / "quiet")
    disturb(first)
    disturb(next((run / "trials").glob("04-live-*")))
    assert noisy()["pairs"] == [1, 2]
    assert not any("run again" in limit for limit in report.reduce(run).limits)
    edit(Path(shutil.move(quiet, run / "trials" / "10-native-1")), lambda head: head.update(trial=10))
    edit(next((run / "trials").glob("05-optimized-*")), lambda head: head.update(error="it failed"))
    assert (noisy()["pairs"], noisy()["last"]) == ([], 10)
    assert any(limit.startswith("Pair 1 was run again") for limit in report.reduce(run).limits)


def test_what_a_figure_leaves_out_is_said(model: Model) -> None:
    assert any("container runtime and CRIU spend" in limit for limit in model.limits)
    assert any("migration of trials 1, 6 and 7 a container" in limit for limit in model.limits)


# ------------------------------------------------------------ errors


def test_a_folder_without_anything_to_report_is_an_error_of_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing to report"):
        report.reduce(tmp_path)
    with pytest.raises(UsageError, match="there is no run folder"):
        report.reduce(tmp_path / "none")
    with pytest.raises(UsageError, match="no kind of report 'migratoin'") as caught:
        report.reduce(tmp_path, kind="migratoin")
    assert caught.value.hint == "did you mean 'migration'?"


def test_no_number_in_the_json_is_not_a_number(model: Model) -> None:
    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [n for entry in value.values() for n in numbers(entry)]
        if isinstance(value, list):
            return [n for entry in value for n in numbers(entry)]
        return [value] if isinstance(value, float) else []

    def refuse(text: str) -> None:
        raise AssertionError(text)

    found = numbers(json.loads(report.render(model, "json"), parse_constant=refuse))
    assert len(found) > 500
    assert all(math.isfinite(n) for n in found)
