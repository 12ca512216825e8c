"""Tasks that only compute, for all hosts of a walk in one go.

What is the same for every host is worked out once, one thread goes from host to host, and what came of it is told
and written for many hosts together. A task that asks for anything out of the ordinary does not come here; where a
host's variables make it wait, or do not fit, that host and those after it are left to `HostTask`, which
has the words for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from labctl.engine import driver
from labctl.engine.execution import Execution
from labctl.engine.outcome import Outcome
from labctl.engine.progress import Begun
from labctl.engine.results import Result
from labctl.engine.scopes import Scopes
from labctl.engine.state import Argument, HostState, Run, Step
from labctl.engine.verdict import SETS_VARIABLES, refused
from labctl.errors import Interrupted, LabctlError
from labctl.events import Status
from labctl.task_types import Args, TaskType
from labctl.variables import OMIT, ReadyScope, Waits, is_constant

if TYPE_CHECKING:
    from labctl.engine.flow import Flow
    from labctl.playbook.tree import Task

_AT_ONCE = 100  # hosts whose results are kept back until they are told together
_SWITCHES = ("ignore_errors", "ignore_unreachable", "diff", "no_log")
_OWN = ("until", "retries")
_INHERITED = ("async_", "timeout", "delegate_to", "check_mode", "debugger")
_AFTERWARDS = ("changed_when", "failed_when")  # with notify, what says what becomes of a result


def suits(flow: Flow, step: Step) -> bool:
    """Whether the task only computes, and what its keywords say is the same for every host and usual."""
    task_type = step.task.task_type
    computes = task_type is not None and task_type.computes
    return computes and step.task.loop is None and not judged(step.task) and usual(flow.run, step)


def judged(task: Task) -> bool:
    """Whether its keywords have a say in what becomes of its result."""
    return bool(any(getattr(task, name) for name in _AFTERWARDS) or task.inherited("notify"))


def usual(run: Run, step: Step) -> bool:
    """Whether the task's keywords, as far as they say how it is done, are the same for every host and usual."""
    task = step.task
    if step.arguments is None or run.options.check:
        return False
    return not (
        any(getattr(task, name) for name in _OWN)
        or any(task.inherited(name) for name in _INHERITED)
        or any(task.inherited(name) not in (None, True, False) for name in _SWITCHES)
        or task.inherited("no_log")
        or task.environments
        or any(argument.secret for argument in step.arguments)
        or run.configuration.text("task_timeout")
    )


def run(flow: Flow, step: Step, hosts: Sequence[HostState], begun: Sequence[Begun]) -> int:
    """Do the task on the hosts from the first on; on how many it was done."""
    flow.run.settle()
    turn = Turn(flow.scopes, step, hosts[0])
    for start in range(0, len(hosts), _AT_ONCE):
        outcomes: list[Outcome] = []
        some = hosts[start : start + _AT_ONCE]
        try:
            for host in some:
                flow.run.stop.check()
                outcomes.append(turn.perform(host))
        except Interrupted:
            raise
        except (Waits, LabctlError):
            return start + len(outcomes)
        finally:
            flow.ended(step, list(zip(some, begun[start:], outcomes, strict=False)))
    return len(hosts)


class Turn:
    """The task, as far as it is the same for all hosts. `context` is the first one's."""

    def __init__(self, scopes: Scopes, step: Step, first: HostState) -> None:
        self._scopes = scopes
        self._step = step
        self._task = step.task
        self.task_type = cast("TaskType", step.task.task_type)
        self._loose = self.task_type.arguments.any_name
        self._ignore_errors = bool(self._task.inherited("ignore_errors"))
        self._ignore_unreachable = bool(self._task.inherited("ignore_unreachable"))
        scope = self.scope(first)
        self._arguments = [_settled(argument, scope) for argument in step.arguments or ()]
        self._constant = all(argument.raw for argument in self._arguments)
        execution = Execution(self._scopes, step, first, Outcome(Result(Status.SKIPPED)))
        self.context = execution.context(scope, scope, first.name)
        self._same: Args | None = None  # the arguments, where they are the same for all

    def perform(self, host: HostState) -> Outcome:
        """What a task that only computes makes of a host. LabctlError and Waits: a `HostTask` has to say."""
        began = time.monotonic()
        scope = self._scopes.ready(host, self._task, self._step.frame)
        if (result := refused(self._task, scope)) is None:
            args = self._same or self._bound(scope)
            context = self.context  # it goes from host to host
            context.state, context.host = host, host.name
            context.scope = context.host_scope = scope
            result = driver.execute(self.task_type, args, context)
        return self.outcome(result, began)

    def outcome(self, result: Result, began: float) -> Outcome:
        """What a result comes to; `began` is of the monotonic clock."""
        outcome = Outcome(
            result, ignore_errors=self._ignore_errors, ignore_unreachable=self._ignore_unreachable
        )
        if (facts := result.facts) is not None:
            cacheable = bool(result.values.get("_ansible_facts_cacheable"))
            outcome.take(facts, sets=self._task.action in SETS_VARIABLES, cacheable=cacheable)
        result.seconds = time.monotonic() - began
        return outcome

    def scope(self, host: HostState) -> ReadyScope:
        return self._scopes.ready(host, self._task, self._step.frame)

    def refusal(self, scope: ReadyScope) -> Result | None:
        """The result where a `when` keeps the task from running."""
        return refused(self._task, scope)

    def args(self, scope: ReadyScope) -> Args:
        """LabctlError, Waits."""
        return self._same or self._bound(scope)

    def _bound(self, scope: ReadyScope) -> Args:
        values: dict[str, Any] = {}
        for argument in self._arguments:
            value = argument.value
            if not argument.raw:
                value = scope.render(value, argument.mark, keep_unknown=self._loose)
                if value is OMIT:
                    continue
            values[argument.name] = value
        whole = len(values) == len(self._arguments)
        args = self.task_type.bind(values, self._task.arg_mark, checked=whole and self._step.checked)
        self._step.checked = self._step.checked or whole
        if self._constant:
            self._same = args
        return args


def _settled(argument: Argument, scope: ReadyScope) -> Argument:
    """An argument that is the same for every host as one that has no need to be rendered."""
    if argument.raw or not is_constant(argument.value):
        return argument
    return replace(argument, value=scope.render(argument.value), raw=True)
