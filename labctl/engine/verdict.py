"""What a task's own conditions make of it: `when` before it runs, changed_when and failed_when of its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.engine import results
from labctl.engine.results import Result
from labctl.errors import LabctlError, UnknownValue
from labctl.events import Status
from labctl.playbook.tree import Task
from labctl.variables import Scope

SETS_VARIABLES = ("set_fact", "include_vars")
_ONLY_SPEAK = (*SETS_VARIABLES, "assert", "debug", "fail", "meta", "set_stats", "validate_argument_spec")
_FALSE = (False, "false", "False")


def harmless(task: Task) -> bool:
    """Whether it changes nothing whatever comes of it: a literal `changed_when: false`, or what only speaks."""
    if task.changed_when:
        return all(condition in _FALSE for condition in task.changed_when)
    return task.action in _ONLY_SPEAK


def refused(task: Task, scope: Scope) -> Result | None:
    """The result of a task that a `when` keeps from running."""
    for condition in task.conditions:
        if not scope.condition(condition, task.mark_of("when")):
            return results.skipped("Conditional result was False", false_condition=condition)
    return None


def with_result(task: Task, scope: Scope, result: Result, made: Mapping[str, Any] | None = None) -> Scope:
    """`scope`, with what the task has set so far and its result under the name it is registered by."""
    if not (made or task.register):
        return scope
    seen = dict(made or {})
    if task.register:
        seen[task.register] = result.values
    return scope.over(seen)


def settled(task: Task, scope: Scope, result: Result, made: Mapping[str, Any] | None = None) -> Result:
    """The result when both have had the last word; `made`: variables that earlier turns of a loop have set."""
    if result.is_unknown and harmless(task):
        result.changes = []
    if result.unreachable or result.skipped or result.is_unknown:
        return result
    bad = result.failed
    if task.changed_when or task.failed_when:
        bad = _judge(task, with_result(task, scope, result, made), result)
    result.status = Status.FAILED if bad else Status.CHANGED if result.changed else Status.OK
    return result.complete()


def _judge(task: Task, view: Scope, result: Result) -> bool:
    """Note in the result what the two say; whether it is a failure."""
    bad, name = result.failed, "changed"
    try:
        if task.changed_when:
            result.values["changed"] = view.condition(list(task.changed_when), task.mark_of("changed_when"))
        name = "failed"
        if task.failed_when:
            bad = view.condition(list(task.failed_when), task.mark_of("failed_when"))
            result.values["failed_when_result"] = bad
            if bad and not result.values.get("msg"):
                result.values["msg"] = f"failed_when: {' and '.join(map(str, task.failed_when))}"
    except UnknownValue:
        raise
    except LabctlError as error:
        said = results.of_error(error)
        result.values |= {f"{name}_when_result": said.values["msg"], "msg": said.values["msg"]}
        result.mark, bad = error.mark, True
    return bad
