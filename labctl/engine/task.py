"""One task on one host: when, loop, until, the task type, changed_when and failed_when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labctl.engine import driver, include_vars, results, settings
from labctl.engine.context import RunContext
from labctl.engine.loops import turns
from labctl.engine.results import Result, hide
from labctl.engine.scopes import Scopes
from labctl.engine.session import Deadline
from labctl.engine.state import HostState, Step
from labctl.errors import Interrupted, LabctlError, PlaybookError, UndefinedVariable, UnknownValue
from labctl.events import Kind, Status
from labctl.task_types import Args, TaskType
from labctl.variables import Scope, Unknown, contains_unknown, shown

_SETS_VARIABLES = ("set_fact", "include_vars")


@dataclass
class Outcome:
    """What a task made of one host, to be applied to its state in the main thread. `notify` holds the
    handlers' names, `facts` go to ansible_facts, `variables` to set_fact's place (include_vars' own when
    `included`). `target`: the host it was delegated to."""

    result: Result
    no_log: bool = False
    ignore_errors: bool = False
    ignore_unreachable: bool = False
    notify: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    included: bool = False
    target: str | None = None
    delegate_facts: bool = False
    secrets: frozenset[str] = frozenset()

    def registered(self) -> Any:
        """What `register` sets: in a dry run an unknown outcome is an Unknown value."""
        result = self.result
        if result.status is Status.UNKNOWN and "results" not in result.values:
            return Unknown(result.unknown or "its outcome")
        return result.values


class HostTask:
    """Call it in a thread of the pool; it emits the task's live events and returns an Outcome."""

    def __init__(self, scopes: Scopes, step: Step, state: HostState, reason: str | None = None) -> None:
        """`reason` (dry run): why it cannot be known whether this handler runs at all."""
        self.scopes = scopes
        self.run = scopes.run
        self.task = step.task
        self.state = state
        self.frame = step.frame
        self.label = step.label
        self.reason = reason
        self.outcome = Outcome(results.skipped("not run"))
        self._made: dict[str, Any] = {}  # variables earlier turns of this loop have set

    def __call__(self) -> Outcome:
        began = time.monotonic()
        self._emit(Kind.HOST_START)
        outcome = self.outcome
        try:
            scope = self._scope()
            outcome.no_log = settings.boolean(self.task, "no_log", scope)
            outcome.result = self._all_turns(scope) if self.task.loop is not None else self._turn(scope)
            self._finish(scope)
        except Interrupted:
            raise
        except LabctlError as error:
            outcome.result = results.of_error(error)
            self._keep_tolerances()
        outcome.result.seconds = time.monotonic() - began
        return outcome

    def _scope(self, extra: Mapping[str, Any] | None = None) -> Scope:
        params = [layer for layer in (self._made, extra) if layer]
        return self.scopes.scope(self.state, self.task, self.frame.inside(*params))

    def _finish(self, scope: Scope) -> None:
        """Read the keywords that say what becomes of the result."""
        outcome, task = self.outcome, self.task
        outcome.ignore_errors = settings.lenient(task, "ignore_errors", scope)
        outcome.ignore_unreachable = settings.lenient(task, "ignore_unreachable", scope)
        outcome.delegate_facts = settings.lenient(task, "delegate_facts", scope)
        notify = task.inherited("notify")
        if notify and (outcome.result.changed or outcome.result.is_unknown):
            names = scope.render(list(notify), task.inherited_mark("notify"))
            outcome.notify = [str(name) for name in names]

    def _keep_tolerances(self) -> None:
        try:
            scope = self._scope()
        except LabctlError:
            return
        self.outcome.no_log = settings.lenient(self.task, "no_log", scope, default=False)
        self.outcome.ignore_errors = settings.lenient(self.task, "ignore_errors", scope)

    # loops

    def _all_turns(self, scope: Scope) -> Result:
        try:
            todo = turns(self.task, scope)
        except (UndefinedVariable, UnknownValue):
            # A condition that does not need the item may make the loop unnecessary.
            refused = self._refused(scope, tolerant=True)
            if refused is not None:
                return refused
            raise
        done: list[Result] = []
        for turn in todo:
            if done and turn.pause:
                self.run.stop.wait(turn.pause)
            turn_scope = self._scope(turn.variables)
            result = self._turn(turn_scope)
            result.values.update(turn.record())
            done.append(result)
            self._emit_item(turn.label(turn_scope, no_log=self.outcome.no_log), result)
            if result.unreachable or turn.breaks(turn_scope, self.task.register, result.values):
                break
        return _combined(done)

    # one turn

    def _turn(self, scope: Scope) -> Result:
        try:
            refused = self._refused(scope)
            if refused is not None:
                return refused
            if self.reason is not None:
                return results.unknown(self.reason)
            return self._attempts(scope)
        except LabctlError as error:
            if isinstance(error, Interrupted):
                raise
            result = results.of_error(error)
            if result.is_unknown:
                self._unknown_variables(result.unknown or "")
            return result

    def _refused(self, scope: Scope, *, tolerant: bool = False) -> Result | None:
        for condition in self.task.conditions():
            try:
                holds = scope.condition(condition, self.task.mark_of("when"))
            except (UndefinedVariable, UnknownValue):
                if tolerant:
                    return None
                raise
            if not holds:
                return results.skipped("Conditional result was False", false_condition=str(condition))
        return None

    def _attempts(self, scope: Scope) -> Result:
        task = self.task
        if not task.until and task.retries is None:
            return self._judged(scope)
        retries = int(settings.number(task, "retries", scope, 3) or 0)
        delay = max(0.0, settings.number(task, "delay", scope, 5) or 0.0)
        attempt = 0
        while True:
            attempt += 1
            result = self._judged(scope)
            result.values["attempts"] = attempt
            if result.unreachable or result.skipped or result.is_unknown:
                return result
            if self._reached(scope, result):
                return result
            if self._checking(scope):
                return results.unknown("it waits for something, and a dry run does not wait", result.values)
            if attempt > retries:
                if task.until:
                    conditions = " and ".join(map(str, task.until))
                    said = result.values.get("msg")
                    message = f"not true after {attempt} attempts: {conditions}"
                    result.values["msg"] = f"{said} ({message})" if said else message
                result.status = Status.FAILED
                return result.complete()
            shown_result = {} if self.outcome.no_log else self._shown(result)
            self._emit(Kind.RETRY, attempt=attempt, retries=retries, delay=delay, result=shown_result)
            self.run.stop.wait(delay)

    def _reached(self, scope: Scope, result: Result) -> bool:
        if not self.task.until:
            return not result.failed
        return self._with_result(scope, result).condition(list(self.task.until), self.task.mark_of("until"))

    def _with_result(self, scope: Scope, result: Result) -> Scope:
        return scope.over({self.task.register: result.values}) if self.task.register else scope

    def _judged(self, scope: Scope) -> Result:
        """Run it, then let changed_when and failed_when have the last word."""
        task = self.task
        result = self._execute(scope).complete()
        if result.unreachable or result.skipped or result.is_unknown:
            return result
        if task.changed_when is None and task.failed_when is None:
            return result
        view = self._with_result(scope, result)
        bad = result.failed
        if task.changed_when is not None:
            result.values["changed"] = view.condition(list(task.changed_when), task.mark_of("changed_when"))
        if task.failed_when is not None:
            bad = view.condition(list(task.failed_when), task.mark_of("failed_when"))
            result.values["failed_when_result"] = bad
            if bad:
                result.values.setdefault("msg", f"failed_when: {' and '.join(map(str, task.failed_when))}")
        result.status = Status.FAILED if bad else Status.CHANGED if result.changed else Status.OK
        return result.complete()

    def _checking(self, scope: Scope) -> bool:
        return settings.boolean(self.task, "check_mode", scope, default=self.run.options.check)

    def _execute(self, scope: Scope) -> Result:
        task = self.task
        if task.action == "include_vars":
            variables = include_vars.read(task, scope)
            self._made |= variables
            self.outcome.included = True
            self.outcome.variables |= variables
            return Result(Status.OK, {"ansible_facts": variables, "changed": False})
        if task.task_type is None:
            raise PlaybookError(f"'{task.action}' cannot stand here", mark=task.mark)
        target = settings.text(task, "delegate_to", scope)
        self.outcome.target = target
        host = target or self.state.name
        host_scope = scope
        if target:
            host_scope = self.scopes.scope(self.run.host(target), task, self.frame)
        args = self._arguments(task.task_type, scope)
        seconds = settings.number(task, "timeout", scope) or 0.0
        deadline = Deadline(self.run.stop, seconds if seconds > 0 else None, self.run.calls)
        context = RunContext(
            scopes=self.scopes,
            task=task,
            state=self.state,
            scope=scope,
            host=host,
            host_scope=host_scope,
            deadline=deadline,
            check=self._checking(scope),
            diff=settings.boolean(task, "diff", scope, default=self.run.options.diff),
            environment=settings.environment(task, scope),
            no_log=self.outcome.no_log,
            label=self.label,
            secrets=self.outcome.secrets,
        )
        token = self.run.watchdog.watch(deadline, [host])
        try:
            result = driver.execute(task.task_type, args, context)
        finally:
            self.run.watchdog.forget(token)
        if result.failed and context.check and self.state.uncertain and not task.task_type.on_controller:
            said = result.values.get("msg", "it failed")
            result = results.unknown(
                f"it fails as things are ({said}), but tasks before it would change this host"
            )
        self._facts_from(result)
        return result

    def _arguments(self, task_type: TaskType, scope: Scope) -> Args:
        task = self.task
        given = task.args
        raw = {name: value for name, value in given.items() if _is_raw(task_type, name)}
        loose = task_type.arguments.any_name
        rendered = {
            name: scope.render([value], task.arg_mark(name), keep_unknown=loose)
            for name, value in given.items()
            if name not in raw
        }
        values = {name: found[0] for name, found in rendered.items() if found}
        secrets = {
            str(value)
            for name, value in values.items()
            if _is_secret(task_type, name) and value not in (None, "")
        }
        self.outcome.secrets |= secrets
        return task_type.bind({**values, **raw}, task.arg_mark)

    # what a task says of variables

    def _facts_from(self, result: Result) -> None:
        facts = result.values.get("ansible_facts")
        if not isinstance(facts, Mapping) or result.failed:
            return
        if self.task.action.rsplit(".", 1)[-1] in _SETS_VARIABLES:
            self._made |= facts
            self.outcome.variables |= facts
        else:
            self.outcome.facts |= facts

    def _unknown_variables(self, reason: str) -> None:
        """A set_fact whose value is unknown sets unknown variables."""
        task_type = self.task.task_type
        if task_type is None or not task_type.arguments.any_name:
            return
        names = [name for name in self.task.args if name not in task_type.aliases]
        unknowns = {name: Unknown(reason.removeprefix("not known in a dry run: ")) for name in names}
        self._made |= unknowns
        self.outcome.variables |= unknowns

    # events

    def _shown(self, result: Result) -> dict[str, Any]:
        values = result.shown(no_log=self.outcome.no_log)
        visible = shown(values) if contains_unknown(values) else values
        found: dict[str, Any] = hide(visible, self.outcome.secrets)
        return found

    def _emit_item(self, label: Any, result: Result) -> None:
        status = result.status
        data = {"unknown": result.unknown} if result.unknown else {}
        if not self.outcome.no_log and result.changes:
            data["changes"] = hide(result.changes, self.outcome.secrets)
        if not self.outcome.no_log and result.diff:
            data["diff"] = hide(result.diff, self.outcome.secrets)
        self._emit(
            Kind.ITEM,
            status=str(status),
            label=hide(label, self.outcome.secrets),
            result=self._shown(result),
            action=self.task.action,
            seconds=result.seconds,
            **data,
        )

    def _emit(self, kind: Kind, **data: Any) -> None:
        play = self.scopes.play
        self.run.bus.emit(
            kind, play=play.name or str(play.hosts), task=self.label, host=self.state.name, **data
        )


def _combined(done: list[Result]) -> Result:
    """A loop's result from those of its turns, as Ansible puts it."""
    if not done:
        return results.skipped("No items in the list", results=[])
    values: dict[str, Any] = {
        "results": [
            Unknown(result.unknown or "its outcome") if result.is_unknown else result.values
            for result in done
        ]
    }
    first = {status: next((r for r in done if r.status is status), None) for status in Status}
    values["changed"] = any(result.changed for result in done)
    values["msg"] = "All items completed"
    status = Status.CHANGED if values["changed"] else Status.OK
    mark, code, reason = None, 2, None
    if bad := first[Status.UNREACHABLE]:
        status, mark, code = Status.UNREACHABLE, bad.mark, bad.exit_code
        values["msg"] = bad.values.get("msg")
    elif bad := first[Status.FAILED]:
        failures = [result for result in done if result.failed]
        status, mark, code = Status.FAILED, bad.mark, bad.exit_code
        said = bad.values.get("msg")
        values["msg"] = (
            f"{said}" if len(failures) == 1 else f"{len(failures)} items failed; the first: {said}"
        )
    elif vague := first[Status.UNKNOWN]:
        status, reason = Status.UNKNOWN, vague.unknown
    elif all(result.skipped for result in done):
        status, values["msg"] = Status.SKIPPED, "All items skipped"
    combined = Result(status, values, mark=mark, exit_code=code, unknown=reason)
    return combined.complete()


def _is_raw(task_type: TaskType, name: str) -> bool:
    canonical = task_type.aliases.get(name)
    return canonical is not None and task_type.parameters[canonical].raw


def _is_secret(task_type: TaskType, name: str) -> bool:
    canonical = task_type.aliases.get(name)
    return canonical is not None and task_type.parameters[canonical].secret
