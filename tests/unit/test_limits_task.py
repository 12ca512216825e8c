"""The task type `find_limit` over a node that breaks where it was told to, and the playbook that uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labctl import report
from labctl.errors import PlaybookError, TaskFailed, Unreachable
from labctl.measure.limit_steps import read_search
from labctl.node.fake import FakeNode
from labctl.playbook import load_playbook
from labctl.task_types import Change, Context, Registry

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
MIB = 2**20


class Machine:
    """A node whose notebook needs 60 MiB itself; `unreachable_at`: the call of `step` that does not come back."""

    def __init__(self, limit: int = 512 * MIB, available: int = 4096 * MIB) -> None:
        self.limit, self.available = limit, available
        self.node = FakeNode("worker1")
        self.steps: list[int] = []
        self.there = False
        self.stopped = 0
        self.group = True
        self.unreachable_at: int | None = None
        for name in ("ready", "step", "capacity", "stop"):
            self.node.on_call("notebook", name, getattr(self, name))
        self.node.on_call(
            "neighbours", "neighbours", lambda **_: {"boot": "1@5", "containers": {"notebook.client": "9@7"}}
        )

    def ready(self, job: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.there = True
        self.job = job
        return {
            "kernel": {"pid": 5},
            "swap": "off",
            "oom_group": job["oom_group"] and self.group,
            **self.capacity(),
        }

    def capacity(self, **_: Any) -> dict[str, Any]:
        return {
            "limits": {"cpu": 1.0, "memory": self.limit, "disk": 256 * MIB},
            "memory_usage": 60 * MIB, "mem_available": self.available, "mem_total": 8192 * MIB,
            "disk_held": 0, "disk_free": 9000 * MIB, "disk_total": 20000 * MIB, "cpus": 2,
        }  # fmt: skip

    def step(self, amount: int, **_: Any) -> dict[str, Any]:
        assert self.there
        self.steps.append(amount)
        if self.unreachable_at == len(self.steps):
            raise Unreachable("worker1 did not answer")
        held = amount + 60 * MIB
        dead = held > self.limit
        death = (
            {"what": "kernel", "cause": "oom", "signal": 9, "oom_kill": 1, "detected_after_s": 0.02}
            if dead
            else None
        )
        return {
            "requested": amount, "achieved": amount, "usage": held, "limit": self.limit, "pct_of_limit": 100 * held / self.limit,
            "survived": not dead, "death": death, "error": None, "throughput": 1e9,
        }  # fmt: skip

    def stop(self, **_: Any) -> dict[str, Any]:
        existed, self.there = self.there, False
        self.stopped += 1
        return {"existed": existed}


class Run:
    """A run's folder, and `find_limit` in it."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.machine = folder, machine
        self.said: list[str] = []
        self.warned: list[str] = []
        self.closers: list[Callable[[], str | None]] = []
        self.check = False

    def __call__(self, **words: Any) -> dict[str, Any]:
        task = Registry().get("find_limit")
        context = SimpleNamespace(
            host="worker1", node=self.machine.node, run_dir=self.folder, mark=None, check=self.check,
            progress=lambda message, _fraction=None: self.said.append(message), on_close=self.closers.append, warn=self.warned.append,
        )  # fmt: skip
        given = {"resource": "memory", "memory": "512Mi", "seconds": 1, **words}
        steps = task.run(task.bind(given, lambda _: None), cast(Context, context))
        answer: Any = None
        try:
            while True:
                change: Change = cast(Any, steps).send(answer)
                answer = None if self.check else change.apply()
        except StopIteration as stop:
            return cast(dict[str, Any], stop.value)

    @property
    def journal(self) -> Path:
        return self.folder / "limits" / "worker1-memory.jsonl"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", Machine())


def test_it_finds_the_boundary_and_takes_the_notebook_away(run: Run) -> None:
    found = run()
    assert found["last_good"] <= (512 - 60) * MIB < found["first_bad"]
    assert found["cause"] == "oom"
    assert found["share_of_limit"] > 0.98
    assert len(found["repetitions"]) == 3
    assert (
        found["msg"]
        == f"memory: {found['last_good'] // MIB} MiB held, {found['first_bad'] // MIB} MiB broke (oom)"
    )
    assert (run.machine.there, run.machine.stopped) == (False, 1)
    assert any(text.startswith("memory, repetition 3 of 3: ") for text in run.said)
    lines = [json.loads(line) for line in run.journal.read_text().splitlines()]
    assert [line["event"] for line in lines[:2]] == ["search", "neighbours"]
    assert [line["event"] for line in lines[-2:]] == ["neighbours", "done"]
    assert lines[0]["limits"]["memory"] == 512 * MIB
    assert run.machine.job["pod"] == "notebook"


def test_a_search_that_is_done_asks_the_node_nothing_more(run: Run) -> None:
    found = run()
    calls = run.machine.node.round_trips
    assert run() == found
    assert run.machine.node.round_trips == calls


def test_a_resumed_run_goes_on_from_the_journal_of_the_one_before(run: Run, tmp_path: Path) -> None:
    run.machine.unreachable_at = 7
    with pytest.raises(Unreachable):
        run()
    assert not run.machine.there, "even then the notebook is asked to go"
    first = run.journal.read_text()
    later = Run(tmp_path / "later", run.machine)
    (later.folder / "run.json").write_text(json.dumps({"resumes": str(run.folder)}))
    found = later()
    assert found["cause"] == "oom"
    assert later.journal.read_text().startswith(first), "what was known is kept"
    assert run.journal.read_text() == first, "the earlier run's folder stays as it was"
    tried = read_search(later.journal.read_text().splitlines()).steps
    lost = [step for step in tried if step.cause == "controller lost"]
    assert [step.requested for step in lost] == [run.machine.steps[6]]
    assert run.machine.steps[7] == run.machine.steps[6], "the lost step is repeated"
    assert len(run.machine.steps) == len(tried)


def test_another_search_does_not_go_on_with_this_journal(run: Run) -> None:
    run()
    with pytest.raises(TaskFailed, match="is the journal of another search") as caught:
        run(tolerance=0.05)
    assert caught.value.hint == "give 'dest', or take that file away"


def test_the_end_of_the_run_takes_the_notebook_away_once(run: Run) -> None:
    run()
    (close,) = run.closers
    assert close() is None
    assert run.machine.stopped == 1


def test_a_node_with_little_memory_is_spared_and_it_is_said(tmp_path: Path) -> None:
    run = Run(tmp_path, Machine(available=700 * MIB))
    found = run()
    assert max(run.machine.steps) == (700 - 410) * MIB
    assert (found["first_bad"], found["last_good"]) == (None, 290 * MIB)
    assert (
        found["repetitions"][0]["ceiling"]
        == "the node has only 700 MiB memory available, of which 409 MiB are left to it"
    )


def test_a_node_that_cannot_kill_a_whole_container_says_so(run: Run) -> None:
    run.machine.group = False
    run(oom_group=True)
    assert [text for text in run.warned if "worker1 cannot kill a container as a whole" in text]
    head = json.loads(run.journal.read_text().splitlines()[0])
    assert (head["oom_group"], head["oom_group_asked"]) == (False, True)
    model = report.reduce(run.folder)
    assert any("the node cannot kill a container as a whole" in limit for limit in model.limits)


def test_a_dry_run_touches_nothing(run: Run) -> None:
    run.check = True
    assert run() == {"resource": "memory"}
    assert run.machine.node.log == []
    assert list(run.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"memory": "plenty"}, "plenty"),
        ({"step": "1Xi"}, "find_limit: '1Xi': unknown suffix 'Xi'"),
        ({"tolerance": 3}, "find_limit: 'tolerance' is a share from 0 to 1"),
        ({"disk": "12"}, "must be at least 1Mi"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_node_is_asked(
    run: Run, words: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlaybookError, match=message):
        run(**words)
    assert run.machine.node.log == []


def test_the_playbook_is_well_formed() -> None:
    assert load_playbook(str(PLAYBOOKS / "notebook_limits.yml"), Registry())


def test_both_profiles_say_what_every_search_needs() -> None:
    from labctl import yaml

    settings = yaml.load_file(str(PLAYBOOKS / "notebook_limits" / "settings.yml"))
    assert set(settings["profiles"]) == {"quick", "source"}
    for profile in settings["profiles"].values():
        assert set(profile["searches"]) == set(settings["resources"])
        assert profile["repetitions"] >= 3
        assert all(search["seconds"] > 0 for search in profile["searches"].values())
    source = settings["profiles"]["source"]
    assert (source["cpu"], source["memory"], source["disk"]) == ("4", "8Gi", "5Gi")
    assert source["searches"]["memory"] == {"seconds": 5, "start": "8000Mi", "step": "100Mi", "max_steps": 10}
