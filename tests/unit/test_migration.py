"""Strategies over a runtime in memory: their order, their phases, and what is left when any step fails."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from labctl.errors import Interrupted, Unreachable, UsageError
from labctl.migration.recorder import Recorder
from labctl.migration.strategies import STRATEGIES, Job, migrate
from labctl.migration.trial import log_events, proof, trial_json, write_trial
from labctl.pods.errors import CheckpointRefused, PodError
from labctl.pods.manifest import load_pod
from labctl.pods.model import ContainerStatus, PodStatus
from labctl.pods.runtime import Checkpoint, Healthy, Saved

POD = load_pod(Path(__file__).resolve().parents[2] / "workloads/training-pod/pod.yml", address="10.0.0.9")
TRAINER, PROCESSOR, MONITOR = (c.name for c in POD.containers)


@dataclass
class Place:
    """The pod on one node: container -> running, held or completed."""

    containers: dict[str, str] = field(default_factory=dict)
    serving: bool = False


class Memory:
    """A PodRuntime in memory. `fail[call, node]` is raised by that call, once."""

    def __init__(self) -> None:
        self.places = {
            "a": Place({TRAINER: "running", PROCESSOR: "completed", MONITOR: "running"}, serving=True)
        }
        self.fail: dict[tuple[str, str], Exception] = {}
        self.calls: list[str] = []

    def _call(self, name: str, node: str) -> None:
        self.calls.append(f"{name} {node}")
        if error := self.fail.pop((name, node), None):
            raise error

    def kind(self) -> str:
        return "containerd"

    def status(self, pod, node) -> PodStatus | None:
        self._call("status", node)
        if node not in self.places:
            return None
        found = {}
        for name, state in self.places[node].containers.items():
            done = state == "completed"
            found[name] = ContainerStatus(
                name, "terminated" if done else "running", exit_code=0 if done else None
            )
        return PodStatus(pod.name, node, pod.address, found)

    def apply(self, pod, node, *, only=None, env=None, restore=None, serve=True) -> PodStatus | None:
        self._call("apply", node)
        place = self.places.setdefault(node, Place())
        for name in only or [c.name for c in pod.containers]:
            place.containers[name] = "running"
        place.serving = serve
        self.env = dict(env or {})
        return self.status(pod, node)

    def wait(self, pod, node, timeout, progress=None) -> Healthy:
        self._call("wait", node)
        return Healthy(self.status(pod, node), 0.1, {"step": 7, "completed": [PROCESSOR]}, 0.0)

    def delete(self, pod, node, *, grace_seconds=None) -> bool:
        self._call("delete", node)
        return self.places.pop(node, None) is not None

    def serve(self, pod, node) -> None:
        self._call("serve", node)
        self.places[node].serving = True

    def signal(self, pod, node, container, name) -> None:
        self._call("signal", node)
        self.places[node].containers[container] = "running"

    def save(self, pod, node, container, timeout) -> Saved:
        self.places[node].containers[container] = "held"
        self._call("save", node)
        return Saved(container, 7, "ab", 1234, 0.1)

    def prepare(self, pod, node, *, need_bytes=0) -> None:
        self._call("prepare", node)

    def checkpoint_refusal(self, node) -> str | None:
        self.calls.append(f"refusal {node}")
        return "no criu" if self.fail.pop(("refusal", node), None) else None

    def checkpoint(self, pod, node, containers, directory) -> dict[str, Checkpoint]:
        done = {name: Checkpoint(name, f"{directory}/{name}", 1000, 0.1, 0.05) for name in containers}
        if ("checkpoint", node) in self.fail:
            first = next(iter(done))
            del self.places[node].containers[first]
            raise CheckpointRefused("a file lock", checkpoints={first: done[first]})
        for name in containers:
            del self.places[node].containers[name]
        self._call("checkpoint", node)
        return done

    def volume_path(self, pod, node) -> str:
        return "/volume"


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def job(memory) -> Job:
    return Job(POD, "a", "b", memory, url="http://10.0.0.9:8080/progress")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_moves_the_pod(job, memory, strategy) -> None:
    recorder = Recorder()
    moved = migrate(strategy, job, recorder)
    assert set(memory.places) == {"b"}
    assert memory.places["b"].serving
    assert not recorder.pending
    assert all(one.end <= following.start for one, following in pairwise(recorder.phases))
    everything = strategy.startswith("native")
    assert (PROCESSOR in memory.places["b"].containers) is everything
    assert (PROCESSOR in moved.restarted) is everything
    assert moved.before.containers[PROCESSOR].completed


def test_phases(job) -> None:
    names = {}
    for strategy in STRATEGIES:
        recorder = Recorder()
        migrate(strategy, Job(POD, "a", "b", Memory(), url=job.url), recorder)
        names[strategy] = [phase.name for phase in recorder.phases]
    assert names == {
        "native": ["inspect", "prepare", "delete", "create", "healthy"],
        "native-resume": ["inspect", "prepare", "delete", "create", "healthy"],
        "optimized": ["inspect", "prepare", "save", "create", "healthy", "switch", "delete"],
        "live": ["inspect", "prepare", "probe", "checkpoint", "restore", "healthy", "delete"],
    }


def test_what_a_restart_is_told(job, memory) -> None:
    migrate("native", job, Recorder())
    assert "RESUME" not in memory.env
    memory = Memory()
    migrate("native-resume", Job(POD, "a", "b", memory), Recorder())
    assert memory.env["RESUME"] == "auto"
    memory = Memory()
    migrate("optimized", Job(POD, "a", "b", memory), Recorder())
    assert memory.env == {"RESUME": "1", "COMPLETED": PROCESSOR}


FAILURES = [
    ("native", "prepare", "b"),
    ("native", "apply", "b"),
    ("native", "wait", "b"),
    ("native-resume", "wait", "b"),
    ("optimized", "prepare", "b"),
    ("optimized", "save", "a"),
    ("optimized", "apply", "b"),
    ("optimized", "wait", "b"),
    ("optimized", "serve", "b"),
    ("live", "refusal", "b"),
    ("live", "prepare", "b"),
    ("live", "checkpoint", "a"),
    ("live", "apply", "b"),
    ("live", "wait", "b"),
]


@pytest.mark.parametrize(
    "error", [PodError("it broke"), Unreachable("b did not answer")], ids=["pod", "unreachable"]
)
@pytest.mark.parametrize(("strategy", "call", "node"), FAILURES)
def test_whatever_fails_leaves_a_working_pod_on_the_source(job, memory, strategy, call, node, error) -> None:
    memory.fail[call, node] = error
    recorder = Recorder()
    with pytest.raises(PodError) as caught:
        migrate(strategy, job, recorder)
    place = memory.places["a"]
    assert {TRAINER, MONITOR} <= set(place.containers)
    assert place.containers[TRAINER] == place.containers[MONITOR] == "running"
    assert place.serving
    assert "b" not in memory.places
    assert not recorder.pending
    message = caught.value.message
    assert f"({strategy})" in message
    assert ("was not touched" in message) == (call in ("prepare", "refusal"))
    if not strategy.startswith("native"):
        assert place.containers[PROCESSOR] == "completed"


def test_target_that_cannot_be_cleaned_is_said(job, memory) -> None:
    memory.fail["wait", "b"] = Unreachable("b did not answer")
    memory.fail["delete", "b"] = Unreachable("b did not answer within 3 s")
    with pytest.raises(PodError) as caught:
        migrate("optimized", job, Recorder())
    assert (
        "Could not be taken back: removed the pod from b: b did not answer within 3 s."
        in caught.value.message
    )
    assert memory.places["a"].containers[TRAINER] == "running"


def test_source_that_cannot_be_removed_is_a_warning(job, memory) -> None:
    memory.fail["delete", "a"] = Unreachable("a did not answer")
    moved = migrate("optimized", job, Recorder())
    assert memory.places["b"].serving
    assert moved.warnings == ["the pod on a could not be removed: a did not answer"]


def test_interrupt_is_taken_back_from_outside(job, memory) -> None:
    recorder = Recorder()
    recorder.on_phase = lambda phase: recorder.cancel() if phase.name == "create" else None
    with pytest.raises(Interrupted):
        migrate("optimized", job, recorder)
    assert recorder.pending
    restored, failed = recorder.roll_back()
    assert not failed
    assert restored == ["removed the pod from b", f"{TRAINER} goes on, on a"]
    assert memory.places["a"].containers[TRAINER] == "running"
    assert recorder.roll_back() == ([], [])


def test_container_that_is_just_ending_counts_as_completed(job, memory) -> None:
    """The service tells it as completed before its process is gone."""
    memory.places["a"].containers[PROCESSOR] = "running"
    look = memory.status

    def status(pod, node):
        found = look(pod, node)
        if memory.calls.count("status a") == 3:
            memory.places["a"].containers[PROCESSOR] = "completed"
        return found

    memory.status = status
    moved = migrate("optimized", job, Recorder())
    assert moved.not_restarted == [PROCESSOR]


def test_same_node_and_unknown_strategy(job, memory) -> None:
    with pytest.raises(UsageError, match="same node"):
        migrate("native", Job(POD, "a", "a", memory), Recorder())
    with pytest.raises(UsageError) as caught:
        migrate("optimised", job, Recorder())
    assert caught.value.hint == "did you mean 'optimized'?"


# ------------------------------------------------------------ proof and files


def lines(*events: tuple) -> str:
    keys = {"step": ("from", "to"), "hold": ("to",)}
    text = ""
    for kind, step, *hashes in events:
        record = {
            "event": kind,
            "step": step,
            **dict(zip(keys.get(kind, ("sha256",)), hashes, strict=True)),
            "host": "pod",
        }
        text += json.dumps(record) + "\n"
    return text


def of(source: str, target: str):
    return proof(log_events(source, "a"), log_events(target, "b"))


def test_proof_of_a_resumed_training() -> None:
    shown = of(
        lines(("step", 4, "c", "d"), ("hold", 4, "d")), lines(("resume", 4, "d"), ("step", 5, "d", "e"))
    )
    assert shown.continued is True
    assert shown.steps_redone == 0


def test_proof_of_restored_memory() -> None:
    shown = of(lines(("step", 4, "c", "d")), lines(("step", 5, "d", "e")))
    assert shown.continued is True
    assert (shown.before, shown.after) == (shown.after, shown.before)


def test_proof_of_a_cold_start() -> None:
    shown = of(lines(("step", 4, "c", "d")), lines(("start", 0, "z"), ("step", 1, "z", "a")))
    assert shown.continued is False
    assert shown.steps_redone == 4


def test_same_step_of_another_state_has_not_continued() -> None:
    shown = of(lines(("step", 4, "c", "d")), lines(("resume", 4, "other")))
    assert shown.continued is False
    assert shown.steps_redone == 0


def test_nothing_to_prove_with() -> None:
    shown = of("", 'no JSON\n{"event": "step", "st')
    assert (shown.before, shown.after, shown.continued, shown.steps_redone) == (None, None, None, None)


def test_trial_files(tmp_path, job, memory) -> None:
    recorder = Recorder()
    moved = migrate("optimized", job, recorder)
    source, target = lines(("hold", 4, "d")), lines(("resume", 4, "d"))
    trial = trial_json(
        {"trial": 2}, recorder.phases, moved, of(source, target), regained=(1.0, None), error=None
    )
    write_trial(tmp_path, trial, {"a": {TRAINER: source, MONITOR: ""}, "b": {TRAINER: target}}, [TRAINER])
    written = json.loads((tmp_path / "trial.json").read_text())
    assert written["moved_bytes"] == 1234
    assert written["progress_at_start"] == {"step": 7, "completed": [PROCESSOR]}
    assert written["state"] == {
        "before": {"step": 4, "sha256": "d"},
        "after": {"step": 4, "sha256": "d"},
        "continued": True,
    }
    assert written["containers"]["before"][PROCESSOR]["exit_code"] == 0
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [(step["event"], step["host"]) for step in steps] == [("hold", "a"), ("resume", "b")]
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {f"{TRAINER}@a.log", f"{TRAINER}@b.log"}
