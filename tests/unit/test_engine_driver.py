"""What every end of a task type becomes, with changes applied or only listed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.engine.driver import execute
from labctl.errors import Interrupted, NodeError, NoPython, TaskFailed, UnknownValue
from labctl.events import Status
from labctl.task_types import Args, Change, Skip, TaskType


def task_type(run):
    return TaskType("probe", Path("probe.py"), "", Args, run, {}, False, {})


@pytest.fixture
def ctx(tmp_path):
    return SimpleNamespace(check=False, diff=False, run_dir=tmp_path, host="a")


def one_change(done, **keys):
    def run(_args, _ctx):
        answer = yield Change("content of /x", lambda: done.append(1) or "applied", "old", "new", **keys)
        return {"answer": answer}

    return run


def test_change_is_applied_and_its_answer_comes_back(ctx):
    done = []
    result = execute(task_type(one_change(done)), Args(), ctx)
    assert (done, result.status, result.values["answer"]) == ([1], Status.CHANGED, "applied")
    assert result.changes == ["content of /x"]
    assert result.diff == []


def test_dry_run_applies_nothing_and_lists_the_change(ctx):
    ctx.check, ctx.diff = True, True
    done = []
    result = execute(task_type(one_change(done)), Args(), ctx)
    assert (done, result.status, result.values["answer"]) == ([], Status.CHANGED, None)
    assert result.diff == [{"what": "content of /x", "before": "old", "after": "new"}]


def test_effect_that_cannot_be_known_is_unknown_in_a_dry_run_only(ctx):
    run = one_change([], unknown="the command decides")
    assert execute(task_type(run), Args(), ctx).status is Status.CHANGED
    ctx.check = True
    result = execute(task_type(run), Args(), ctx)
    assert (result.status, result.unknown) == (Status.UNKNOWN, "the command decides")


def test_returned_changed_wins_over_yielded_changes(ctx):
    def run(_args, _ctx):
        yield Change("x", lambda: None)
        return {"changed": False}

    assert execute(task_type(run), Args(), ctx).status is Status.OK


def test_failing_change_reaches_the_task_type_which_may_clean_up(ctx):
    seen = []

    def broken():
        raise NodeError("no space left", errno_name="ENOSPC", path="/x")

    def run(_args, _ctx):
        try:
            yield Change("x", broken)
        except NodeError as error:
            seen.append(error.errno_name)
            raise

    result = execute(task_type(run), Args(), ctx)
    assert seen == ["ENOSPC"]
    assert result.failed
    assert "no space left" in result.values["msg"]
    assert "/x" in result.values["msg"]
    assert result.changes == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TaskFailed("no", rc=3), Status.FAILED),
        (NoPython("no python"), Status.UNREACHABLE),
        (Skip("nothing to do"), Status.SKIPPED),
        (UnknownValue("later"), Status.UNKNOWN),
    ],
)
def test_errors_become_results(ctx, error, status):
    def run(_args, _ctx):
        raise error

    result = execute(task_type(run), Args(), ctx)
    assert result.status is status
    if status is Status.FAILED:
        assert result.values["rc"] == 3


def test_fault_of_a_task_type_is_one_message_and_a_file(ctx):
    def run(_args, _ctx):
        return {"x": {}["absent"]}

    result = execute(task_type(run), Args(), ctx)
    assert result.failed
    assert "KeyError" in result.values["msg"]
    assert "Traceback" not in result.values["msg"]
    assert "Traceback" in next((ctx.run_dir / "logs").glob("crash-*")).read_text()


def test_interrupt_passes_through(ctx):
    def run(_args, _ctx):
        raise Interrupted("now")

    with pytest.raises(Interrupted):
        execute(task_type(run), Args(), ctx)


def test_output_comes_as_text_and_lines(ctx):
    result = execute(task_type(lambda _a, _c: {"stdout": b"a\nb", "rc": 0}), Args(), ctx)
    assert result.values["stdout_lines"] == ["a", "b"]
    assert dataclasses.replace(result).shown(no_log=True).keys() == {"censored", "changed", "failed"}
