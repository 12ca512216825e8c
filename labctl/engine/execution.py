"""One execution of a task type: on which host, as whom, with which arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.engine import background, driver, results, settings
from labctl.engine.background import Async
from labctl.engine.context import RunContext
from labctl.engine.deadline import Deadline
from labctl.engine.outcome import Outcome
from labctl.engine.results import Result
from labctl.engine.scopes import Scopes
from labctl.engine.state import Argument, HostState, Step
from labctl.engine.verdict import harmless
from labctl.errors import LabctlError, PlaybookError
from labctl.playbook.tree import Task
from labctl.task_types import VARIABLE, TaskType, arguments_of, describe
from labctl.variables import OMIT, Scope


def checking(task: Task, scope: Scope, *, default: bool) -> bool:
    return settings.boolean(task, "check_mode", scope, default=default)


class Execution:
    """What every attempt of every turn of a task on one host shares. Notes in `outcome` where it acted and
    what must not be shown."""

    def __init__(self, scopes: Scopes, step: Step, state: HostState, outcome: Outcome) -> None:
        self.scopes = scopes
        self.run = scopes.run
        self.step = step
        self.state = state
        self.outcome = outcome

    def __call__(self, task_type: TaskType, scope: Scope, params: Mapping[str, Any]) -> Result:
        """`scope` is that of the turn, `params` what the turn's loop sets."""
        task, outcome = self.step.task, self.outcome
        target = settings.text(task, "delegate_to", scope)
        outcome.target = target
        host_scope = scope
        if target:
            frame = self.step.frame.inside(params) if params else self.step.frame
            host_scope = self.scopes.scope(self.run.target(target), task, frame)
            seen = host_scope.over({"inventory_hostname": self.state.name})
            scope = scope.over({"ansible_delegated_vars": {target: seen}, **_connection(host_scope)})
        task_type = self._named(task_type, scope)
        context = self.context(scope, host_scope, target or self.state.name)
        given, whole = self._arguments(task_type, scope)
        try:
            args = task_type.bind(given, task.arg_mark, checked=whole and self.step.checked)
            self.step.checked = self.step.checked or whole
        except PlaybookError as error:  # the task type's own refusal: a failure that failed_when may judge
            return results.of_error(error)
        context.secrets = outcome.secrets
        wanted = None if context.check else self._async(scope)
        if wanted is not None:
            context.deadline = self._deadline(None if task_type.detaches else wanted.limit)
            return background.run(wanted, task_type, args, context, self.run.jobs)
        with self.run.watchdog.watching(context.deadline, [context.host]):
            result = driver.execute(task_type, args, context)
            context.end_output()
        outcome.lasting = outcome.lasting or context.lasting
        if not self.run.options.check or task_type.on_controller:
            return result
        machine = "this machine" if context.local else context.host
        if not context.check:
            return self.run.expected.carried_out(machine, args, context.looks, result)
        return self.run.expected.judge(
            machine, self.step.label, args, context.looks, result, harmless=harmless(task)
        )

    def _named(self, task_type: TaskType, scope: Scope) -> TaskType:
        """The task type itself, where the playbook has a template for its name."""
        if task_type.expression is None:
            return task_type
        name = scope.template(task_type.expression).strip()
        actual = self.run.registry.get(name, task_type.expression.mark)
        self.outcome.action = actual.name
        return actual

    def _async(self, scope: Scope) -> Async | None:
        task = self.step.task
        limit = settings.number(task, "async_", scope) or 0.0
        poll = settings.number(task, "poll", scope, background.POLL)
        return Async(limit, max(0.0, poll or 0.0)) if limit > 0 else None

    def _deadline(self, seconds: float | None) -> Deadline:
        return Deadline(self.run.stop, seconds, self.run.calls)

    def context(self, scope: Scope, host_scope: Scope, host: str) -> RunContext:
        """What the task type may use of the run; `host` is where it acts, `host_scope` that host's variables."""
        task = self.step.task
        usual = self.run.configuration.number("task_timeout")
        seconds = settings.number(task, "timeout", scope, usual) or 0.0
        return RunContext(
            scopes=self.scopes,
            task=task,
            state=self.state,
            scope=scope,
            host=host,
            host_scope=host_scope,
            deadline=self._deadline(seconds if seconds > 0 else None),
            check=checking(task, scope, default=self.run.options.check),
            diff=settings.boolean(task, "diff", scope, default=self.run.options.diff),
            environment=settings.environment(task, scope),
            no_log=self.outcome.no_log,
            label=self.step.label,
        )

    def _arguments(self, task_type: TaskType, scope: Scope) -> tuple[dict[str, Any], bool]:
        """The rendered arguments, and whether they are all that any host gives."""
        if (arguments := self.step.arguments) is None:
            given = self._gathered(task_type, scope)
            arguments = [
                Argument.of(task_type, *named, self.step.task.arg_mark(named[0])) for named in given.items()
            ]
        loose = task_type.arguments.any_name
        values: dict[str, Any] = {}
        for argument in arguments:
            value = argument.value
            if not argument.raw:
                value = scope.render(value, argument.mark, keep_unknown=loose)
                if value is OMIT:
                    continue
                if argument.secret and value not in (None, ""):
                    self.outcome.secrets |= {str(value)}
            values[argument.name] = value
        return values, self.step.arguments is not None and len(values) == len(arguments)

    def _gathered(self, task_type: TaskType, scope: Scope) -> dict[str, Any]:
        """The arguments as written, and those of a variable."""
        task = self.step.task
        given = {name: value for name, value in task.args.items() if name != VARIABLE}
        if self.outcome.action:
            given = arguments_of(task_type, given)
        if VARIABLE in task.args:
            variable = scope.render(task.args[VARIABLE], task.arg_mark(VARIABLE))
            if not isinstance(variable, Mapping):
                message = f"'args' must be a mapping, not {describe(variable)}"
                raise PlaybookError(message, mark=task.arg_mark(VARIABLE))
            given = {**_canonical(task_type, variable), **_canonical(task_type, given)}
        return given


def _connection(scope: Scope) -> dict[str, Any]:
    """How the host a task is delegated to is reached: such a task sees that, not how its own host is."""
    found: dict[str, Any] = {}
    for name in ("ansible_host", "ansible_port", "ansible_user", "ansible_connection"):
        try:
            if name in scope:
                found[name] = scope[name]
        except LabctlError:  # a template that makes no sense there is said when it is used
            continue
    return found


def _canonical(task_type: TaskType, given: Mapping[str, Any]) -> dict[str, Any]:
    return {task_type.aliases.get(name, name): value for name, value in given.items()}
