"""The task type `stress` and what it takes, over an agent on this machine."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.errors import PlaybookError, TaskFailed
from labctl.measure.load import cpu_within, read_load, what_went_wrong
from labctl.measure.series import Window
from labctl.node import bundle
from labctl.node.client import AgentNode
from labctl.node.pipes import ProcessPipe
from labctl.playbook import PlaybookErrors, load_playbook
from labctl.stress import background
from labctl.stress.wanted import plan_of
from labctl.task_types import Registry
from tests.processes import gone


class Ctx(SimpleNamespace):
    def node_of(self, host: str) -> Any:
        return self.nodes[host]

    def vars_of(self, host: str) -> dict[str, Any]:
        if host not in self.nodes:
            raise PlaybookError(f"there is no host '{host}'")
        return {"ansible_host": "127.0.0.1"}

    def wait(self, seconds: float) -> None:
        if self.interrupt:
            raise self.interrupt
        time.sleep(seconds)


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Ctx]:
    closers: list[Any] = []
    pipe = ProcessPipe(bundle.stub_argv(sys.executable))
    node = AgentNode("here", pipe)
    run_dir = tmp_path / "run"
    yield Ctx(
        host="a", node=node, nodes={"a": node, "b": node}, run_dir=run_dir, shared={}, mark=None,
        on_close=closers.append, closers=closers, interrupt=None, pipe=pipe, check=False,
    )  # fmt: skip
    node.close()


def stress(ctx: Ctx, *, check: bool = False, **arguments: Any) -> tuple[dict[str, Any], list[Any]]:
    """Run the task as the engine does: (its values, its changes)."""
    task = Registry().get("stress")
    ctx.check = check
    steps = task.run(task.bind(arguments, lambda _: None), ctx)
    changes: list[Any] = []
    given = None
    try:
        while True:
            changes.append(steps.send(given))
            given = None if check else changes[-1].apply()
    except StopIteration as stop:
        return stop.value, changes


def processes_of(pid: int, count: int = 0) -> list[int]:
    """All that descend from a process, once there are at least so many."""
    until = time.monotonic() + 30
    while True:
        found = [pid]
        for one in found:
            for path in Path(f"/proc/{one}/task").glob("*/children"):  # of each thread
                found += [int(word) for word in path.read_text().split()]
        if len(found) > count or time.monotonic() > until:
            return found[1:]
        time.sleep(0.01)


# ------------------------------------------------------------ what is asked for


def test_bare_values_and_mappings_become_a_plan() -> None:
    plan = plan_of({"cpu": "25%", "memory": "1Mi", "network": {"to": "b", "rate": "2M/s"}, "pids": "max"})
    assert plan == {
        "cpu": {"load": 0.25, "workers": 0, "method": "integer"},
        "memory": {"size": 1 << 20, "workers": 1, "step": None, "every": 0.0},
        "network": {"to": "b", "workers": 1, "address": None, "rate": 2_000_000},
        "pids": {"count": None, "workers": 1},
    }


@pytest.mark.parametrize(
    ("given", "words", "hint"),
    [
        ({"cpu": "150%"}, "'load' of 'cpu' must be a share such as 50%, not the string '150%'", None),
        ({"cpu": {"laod": 1}}, "'cpu' has no option 'laod'", "did you mean 'load'?"),
        ({"cpu": {"method": "fft"}}, "'method' of 'cpu' must be one of integer, matrix", None),
        ({"memory": {"step": "1Mi"}}, "'memory' needs 'size', a size such as 256Mi", None),
        ({"memory": "lots"}, "'size' of 'memory' must be a size such as 256Mi, not the string 'lots'", None),
        ({"memory": 0}, "'size' of 'memory' must be a size such as 256Mi, not the integer 0", None),
        ({"disk": {"path": "tmp"}}, "'path' of 'disk' must be an absolute path, not the string 'tmp'", None),
        ({"disk": {"size": 5000, "direct": True}}, "'direct' of 'disk' needs 'size' and 'block'", None),
        ({"fds": -1}, "'count' of 'fds' must be a number, or max", None),
        ({"network": True}, "'network' needs 'to', the name of a host", None),
    ],
)
def test_what_makes_no_sense_is_said(given: dict[str, Any], words: str, hint: str | None) -> None:
    with pytest.raises(PlaybookError) as caught:
        plan_of(given)
    assert words in caught.value.message
    if hint:
        assert caught.value.hint == hint


@pytest.mark.parametrize("given", [{"pids": 3}, {"memory": {"size": 9, "step": 3}}, {"disk": {"rate": 9}}])
def test_what_stress_ng_cannot_do_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(PlaybookError, match="stress-ng"):
        plan_of(given, "stress-ng")


# ------------------------------------------------------------ load in one line


def test_a_load_is_read() -> None:
    found = background.parse("cpu:50%, memory:256M,disk,network:20M/s")
    assert found == {"cpu": 0.5, "memory": 256_000_000, "disk": 10_000_000, "network": 20_000_000}


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("cpuu:50%", "there is no load 'cpuu' in 'cpuu:50%'", "did you mean 'cpu'?"),
        ("cpu", "the load 'cpu' takes a share such as 50%, as in cpu:50%", "expected cpu:50%[,memory:256M]"),
        ("cpu:half", "the load 'cpu' takes a share such as 50%, not 'half'", "expected cpu:50%"),
        ("memory:", "the load 'memory' takes a size such as 256M, not ''", "expected cpu:50%"),
        ("cpu:5%,cpu:6%", "'cpu' stands twice in the load 'cpu:5%,cpu:6%'", None),
        ("", "there is no load '' in ''", "expected cpu:50%[,memory:256M][,disk][,network]"),
    ],
)
def test_a_load_that_is_misspelt_is_one_clear_error(text: str, words: str, hint: str | None) -> None:
    with pytest.raises(PlaybookError) as caught:
        background.parse(text)
    assert caught.value.message == words
    assert (caught.value.hint or "").startswith(hint or "")


def test_nodes_with_one_kernel_share_its_processors() -> None:
    load = background.parse("cpu:50%,network")
    machines = {
        "a": {"cpus": 3, "booted": 100.0},
        "b": {"cpus": 3, "booted": 100.001},
        "c": {"cpus": 3, "booted": 7.0},
    }
    found = background.stressors(load, "a", ["a", "b", "c"], machines)
    assert found["cpu"] == {"workers": 2, "load": pytest.approx(0.375)}  # 50 % of 1.5
    assert background.stressors(load, "c", ["a", "b", "c"], machines)["cpu"] == {"workers": 3, "load": 0.5}
    sends = [background.stressors(load, host, ["a", "b", "c"], machines)["network"]["to"] for host in "abc"]
    assert sends == ["b", "c", "a"]
    with pytest.raises(PlaybookError, match="needs two nodes"):
        background.stressors(load, "a", ["a"], machines)


# ------------------------------------------------------------ the task


def test_a_load_in_the_foreground_tells_what_it_did(ctx: Ctx, tmp_path: Path) -> None:
    disk = {"size": "1Mi", "path": str(tmp_path)}
    values, (change,) = stress(ctx, cpu={"workers": 2, "load": "10%"}, disk=disk, duration=0.6, interval=0.1)
    assert change.unknown
    assert values["ended"] == "time"
    cpu, disk = values["stressors"]["cpu"], values["stressors"]["disk"]
    assert (len(cpu["workers"]), cpu["unit"]) == (2, "rounds")
    assert cpu["work"] > 0
    assert 0 < disk["checked"] <= disk["work"]
    assert values["errors"] == values["deaths"] == []
    header, *_, end = map(json.loads, Path(values["path"]).read_text().splitlines())
    assert header["asked"]["cpu"] == {"workers": 2, "load": "10%"}
    assert end["stressors"]["cpu"][0]["work"] + end["stressors"]["cpu"][1]["work"] == cpu["work"]
    again, _ = stress(ctx, fds=3, duration=0.1)
    assert again["path"].endswith("stress-a-2.jsonl")
    assert gone(processes_of(ctx.pipe.pid))


def test_a_load_in_the_background_runs_until_it_is_stopped(ctx: Ctx) -> None:
    values, _ = stress(ctx, cpu={"workers": 1, "load": "10%"}, background=True)
    assert stress(ctx, cpu={"workers": 1}, background=True)[1] == []  # it runs already
    assert len(processes_of(ctx.pipe.pid, 2)) == 2
    stopped, _ = stress(ctx, state="stopped")
    assert stopped["ended"] == "stopped"
    assert stopped["path"] == values["path"]
    assert gone(processes_of(ctx.pipe.pid))
    assert ctx.closers[0]() is None
    with pytest.raises(TaskFailed) as caught:
        stress(ctx, state="stopped", name="strss")
    assert caught.value.message == "load 'strss' was not started on a"


def test_what_still_runs_at_the_end_is_stopped_then(ctx: Ctx) -> None:
    stress(ctx, cpu={"workers": 1, "load": "10%"}, background=True, name="noise")
    pids = processes_of(ctx.pipe.pid, 2)
    assert ctx.closers[0]() == "stopped load noise on a; its lines are in noise-a.jsonl"
    assert gone(pids)


def test_an_interrupted_task_leaves_no_worker(ctx: Ctx) -> None:
    ctx.interrupt = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        stress(ctx, cpu={"workers": 2, "load": "10%"}, network="b", duration=600)
    assert gone(processes_of(ctx.pipe.pid))


def test_an_agent_that_is_killed_takes_the_load_with_it(ctx: Ctx) -> None:
    stress(ctx, cpu={"workers": 2, "load": "10%"}, pids=4, background=True)
    pids = processes_of(ctx.pipe.pid, 8)
    assert len(pids) == 1 + 3 + 4
    os.kill(ctx.pipe.pid, 9)
    assert gone(pids)


def test_a_load_between_nodes_has_a_sink_on_the_other(ctx: Ctx) -> None:
    values, _ = stress(ctx, network={"to": "b", "rate": "1M"}, duration=0.5, interval=0.05)
    assert values["stressors"]["network"]["work"] > 0
    sink = read_load((ctx.run_dir / "stress-a-sink-here.jsonl").read_text().splitlines())
    assert sink.stressors[0].workers[0].checked > 0
    assert gone(processes_of(ctx.pipe.pid))
    with pytest.raises(PlaybookError, match="there is no host 'nowhere'"):
        stress(ctx, network="nowhere", duration=1)


def test_a_program_that_died_is_an_error_and_its_sink_ends_too(ctx: Ctx) -> None:
    values, _ = stress(ctx, network={"to": "b", "rate": "1M"}, background=True)
    os.kill(json.loads(Path(values["path"]).read_text().splitlines()[0])["pid"], 9)
    with pytest.raises(TaskFailed, match="load 'stress' on here ended early"):
        stress(ctx, state="stopped")
    assert gone(processes_of(ctx.pipe.pid))


def test_a_load_of_one_line_is_shared_out(ctx: Ctx) -> None:
    values, _ = stress(ctx, load="cpu:10%,network:1M/s", among=["a", "b"], background=True)
    header = json.loads(Path(values["path"]).read_text().splitlines()[0])
    processors = len(os.sched_getaffinity(0))
    told = header["stressors"]["cpu"]
    assert told["workers"] * told["load"] == pytest.approx(processors / 2 * 0.1)
    assert header["asked"] == {
        "load": "cpu:10%,network:1M/s",
        "among": ["a", "b"],
        "processors": processors / 2,
    }
    stress(ctx, state="stopped")


def test_what_the_node_cannot_give_fails_in_one_sentence_and_leaves_no_file(ctx: Ctx) -> None:
    with pytest.raises(TaskFailed) as caught:
        stress(ctx, memory="64Ti", duration=1)
    assert caught.value.message.startswith("memory: 64 TiB is more than the node can give")
    assert list(ctx.run_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cpu": "50%"}, "'stress' needs 'duration' in seconds, or 'background'"),
        ({"duration": 3}, "'stress' needs one of: cpu, memory, disk, network, pids, fds, load"),
        ({"cpu": "50%", "duration": 0}, "'duration' of 'stress' must be more than 0 seconds"),
        ({"cpu": "50%", "duration": 1, "container": "x"}, "'container' of 'stress' needs 'pod'"),
        (
            {"cpu": "50%", "duration": 1, "reserve": "much"},
            "'reserve' of 'stress' must be a share such as 5%",
        ),
        ({"load": "cpu:50%", "cpu": "50%", "duration": 1}, "takes only one of"),
        ({"load": "dsik", "background": True}, "there is no load 'dsik' in 'dsik'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_a_node_is_asked(
    ctx: Ctx, arguments: dict[str, Any], words: str
) -> None:
    ctx.node = None
    with pytest.raises(PlaybookError) as caught:
        stress(ctx, **arguments)
    assert words in caught.value.message


def test_a_playbook_with_a_load_that_makes_no_sense_is_refused_with_every_position(tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(
        "- hosts: all\n  tasks:\n"
        "    - stress: {cpu: 150%, memory: {sise: 9Mi}, duration: 3}\n"
        "    - stress: {load: 'cpu:50%,dsik', background: true}\n"
        "    - stress: {pids: '{{ some }}', duration: 1, reserve: lots}\n"
    )
    with pytest.raises(PlaybookErrors) as caught:
        load_playbook(str(tmp_path / "site.yml"), Registry())
    found = [(error.mark.line, error.mark.column, error.message) for error in caught.value.problems]
    assert found == [
        (3, 21, "'load' of 'cpu' must be a share such as 50%, not the string '150%'"),
        (3, 35, "'memory' has no option 'sise'"),
        (4, 22, "there is no load 'dsik' in 'cpu:50%,dsik'"),
        (5, 58, "'reserve' of 'stress' must be a share such as 5%, not 'lots'"),
    ]


def test_a_dry_run_starts_nothing(ctx: Ctx) -> None:
    ctx.node = None
    assert stress(ctx, check=True, cpu="50%", duration=9)[1][0].unknown == "a load is not run in a dry run"
    _, (change,) = stress(ctx, check=True, load="cpu:50%", background=True)
    assert (change.before, change.after) == ("none", "cpu:50%")
    with pytest.raises(TaskFailed, match="was not started"):
        stress(ctx, state="stopped")
    assert stress(ctx, check=True, state="stopped")[0] == {}
    assert not ctx.run_dir.exists()


# ------------------------------------------------------------ its file


def lines(*more: dict[str, Any], count: int | None = None) -> list[str]:
    """A file of two workers that use 0.25 s of CPU a second each from t = 1000, a work line a second for 4 s."""
    stressors = {
        "cpu": {"unit": "rounds", "workers": 2},
        "pids": {"unit": "processes", "workers": 1, "count": count},
    }
    head = {
        "type": "header", "program": "stress", "host": "a", "mono": 0.0, "wall": 1000.5, "asked": {"cpu": "25%"},
        "engine": "own", "cpus": 2, "container": None, "stressors": stressors,
    }  # fmt: skip
    works = [
        {
            "type": "work", "mono": float(t), "wall": 1000.5 + t,
            "stressors": {"cpu": [[100 * t, 0, 0, 0.25 * t], [120 * t, 0, 0, 0.25 * t]], "pids": [[3, 0, 3, 0.0]]},
        }
        for t in range(5)
    ]  # fmt: skip
    return [json.dumps(line) for line in (head, *works, *more)]


def test_cpu_of_a_load_is_known_for_every_window_it_covers() -> None:
    load = read_load(lines(), offset=0.5)
    assert (load.reason, load.stressors[0].work) == (None, 880)
    assert [worker.per_second for worker in load.stressors[0].workers] == [100, 120]
    assert cpu_within(load, Window(1000.5, 1003.25)).value == pytest.approx(2.75 * 0.5)
    assert cpu_within(load, Window(999.0, 1001.0)).value is None
    assert cpu_within(load, Window(1003.0, 1004.5)).reason == "the load on a did not run throughout"


@pytest.mark.parametrize("bad", [[], ['{"type": "header", "host": "a", "mono": 1, "wall": 2}']])
def test_another_file_is_refused(bad: list[str]) -> None:
    with pytest.raises(ValueError, match="has no header"):
        read_load(bad)


def event(kind: str, **values: Any) -> dict[str, Any]:
    return {"type": kind, "mono": 4.5, "wall": 1005.0, **values}


def wrong(*events: dict[str, Any], reason: str = "stopped", count: int | None = None) -> str | None:
    one = {"work": 1.0, "checked": 0.0, "held": 0.0, "cpu_seconds": 1.0, "seconds": 4.5, "ended": None}
    end = event("end", reason=reason, stressors={"cpu": [one, one], "pids": [one]}, oom_kills=None)
    return what_went_wrong(read_load(lines(*events, end, count=count)))


def test_a_load_that_was_not_what_was_asked_for_says_why() -> None:
    killed = event("death", stressor="cpu", worker=1, signal=9, held=5.0, oom_kills=1)
    refused = event("error", stressor="pids", worker=0, errno="EAGAIN", message="process 4: no")
    full = event("error", stressor="cpu", worker=0, errno="ENOSPC", message="disk file of 9 bytes: full")
    assert wrong() is None
    assert wrong(killed) == "cpu worker 1 was killed for lack of memory in its container, holding 5"
    assert wrong({**killed, "oom_kills": 0, "held": 0}) == "cpu worker 1 was ended by signal 9"
    assert wrong(refused) is None  # max: until the kernel refuses
    assert wrong(refused, count=9) == "pids worker 0: process 4: no (EAGAIN)"
    assert wrong(full, event("death", stressor="cpu", worker=0, exit=3)).endswith("9 bytes: full (ENOSPC)")
    assert wrong(event("death", stressor="cpu", worker=0, exit=1)) == "cpu worker 0 ended with status 1"
    assert wrong(reason="container ended") == "the container ended"
    assert what_went_wrong(read_load(lines())) == "its lines end in the middle"
