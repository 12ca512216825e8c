"""One task on one host: when, loop, until, the task type, changed_when and failed_when."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from labctl import vault
from labctl.engine import debugger, include_vars, results, series, settings, verdict
from labctl.engine.execution import Execution, checking
from labctl.engine.loops import Turn, turns
from labctl.engine.outcome import Outcome, combined
from labctl.engine.results import Result, hide
from labctl.engine.scopes import Scopes
from labctl.engine.state import HostState, Step
from labctl.errors import Interrupted, LabctlError, PlaybookError, UndefinedVariable, UnknownValue
from labctl.events import Kind, Status
from labctl.variables import Scope, Unknown, contains_unknown, shown

__all__ = ["HostTask", "Outcome"]

_RETRIES = 3


class HostTask:
    """Call it in a thread of the pool; it emits the task's live events and returns an Outcome."""

    def __init__(self, scopes: Scopes, step: Step, state: HostState, reason: str | None = None) -> None:
        """`reason` (dry run): why it cannot be known whether this handler runs at all."""
        self.scopes = scopes
        self.run = scopes.run
        self.step = step
        self.task = step.task
        self.state = state
        self.frame = step.frame
        self.label = step.label
        self.reason = reason
        self.outcome = Outcome(Result(Status.SKIPPED))
        self._made: dict[str, Any] = {}  # variables earlier turns of this loop have set
        self._params: Mapping[str, Any] = {}  # variables of this turn
        self._at: Turn | None = None
        self._series: series.Series | None = None

    def __call__(self) -> Outcome:
        began = time.monotonic()
        if not self.step.quick:
            self._emit(Kind.HOST_START)
        self._perform()
        while self.task.inherited("debugger") and debugger.again(
            self.task, self._scope, self.outcome, self.state.name, self.run
        ):
            self.outcome = Outcome(Result(Status.SKIPPED))
            self._perform()
        self.outcome.result.seconds = time.monotonic() - began
        return self.outcome

    def _perform(self) -> None:
        self._made, self._params = {}, {}
        outcome = self.outcome
        try:
            scope = self._scope()
            if self.task.loop is not None:
                outcome.result = self._all_turns(scope)
            else:
                outcome.result = self._turn(scope)
                self._finish(scope, outcome.result)
        except Interrupted:
            raise
        except LabctlError as error:
            outcome.result = results.of_error(error)
            self._keep_tolerances()
        if outcome.no_log:
            vault.current().masks.add_result(outcome.result.values)

    def conclude(self, result: Result, began: float) -> Outcome:
        """What a result comes to that another has of the task type; `began` is of the monotonic clock."""
        outcome = self.outcome
        try:
            scope = self._scope()
            outcome.result = verdict.settled(self.task, scope, result)
            self._finish(scope, outcome.result)
        except Interrupted:
            raise
        except LabctlError as error:
            outcome.result = results.of_error(error)
            self._keep_tolerances()
        outcome.result.seconds = time.monotonic() - began
        return outcome

    def _scope(self) -> Scope:
        params = [layer for layer in (self._made, self._params) if layer]
        frame = self.frame.inside(*params) if params else self.frame
        return self.scopes.scope(self.state, self.task, frame)

    def _finish(self, scope: Scope, result: Result) -> None:
        """Read the keywords that say what becomes of a result."""
        outcome, task = self.outcome, self.task
        outcome.ignore_errors = settings.lenient(task, "ignore_errors", scope)
        outcome.ignore_unreachable = settings.lenient(task, "ignore_unreachable", scope)
        notify = task.inherited("notify")
        # Every item of a loop notifies, if any of them changed something: as Ansible has it.
        told = not result.skipped if task.loop is not None else self._may_have_changed(result)
        if notify and told:
            names = scope.render(list(notify), task.inherited_mark("notify"))
            flat = [each for name in names for each in (name if isinstance(name, list) else [name])]
            outcome.notify = list(dict.fromkeys([*outcome.notify, *map(str, flat)]))

    def _may_have_changed(self, result: Result) -> bool:
        return result.changed or (result.is_unknown and not verdict.harmless(self.task))

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
        self._series = None
        if series.suits(self.scopes, self.step, todo):
            self._series = series.Series(self.scopes, self.step, self.state, todo)
        try:
            return self._done(todo)
        finally:
            if self._series:
                self._series.leave()

    def _done(self, todo: Sequence[Turn]) -> Result:
        done: list[Result] = []
        pardoned: list[tuple[bool, bool]] = []
        secret = False
        for turn in todo:
            if done and turn.pause:
                self.run.stop.wait(turn.pause)
            result = self._one_turn(turn)
            done.append(result)
            secret = secret or self.outcome.no_log
            if result.failed or result.unreachable:
                pardoned.append((self.outcome.ignore_errors, self.outcome.ignore_unreachable))
            lost = result.unreachable and not (self.outcome.ignore_unreachable or self.outcome.target)
            if lost or turn.breaks(self._scope(), None, {}):
                break
        self.outcome.no_log = secret
        if pardoned:
            self.outcome.ignore_errors = all(errors for errors, _ in pardoned)
            self.outcome.ignore_unreachable = all(unreachable for _, unreachable in pardoned)
        self._params = {}
        whole = combined(done)
        if not self._may_have_changed(whole):
            self.outcome.notify = []
        return whole

    def _one_turn(self, turn: Turn) -> Result:
        self._at, self._params = turn, turn.variables
        result = self._turn(self._scope())
        if self.task.register:
            self._made[self.task.register] = result.values
        scope = self._scope()
        label = turn.label(scope, no_log=self.outcome.no_log)
        result.values.update(turn.record())
        self._finish(scope, result)
        self._emit_item(label, result)
        return result

    # one turn

    def _turn(self, scope: Scope) -> Result:
        self.outcome.no_log = True  # until it is known: what fails before may hold what must be hidden
        try:
            refused = None if self._asked_for else self._refused(scope)
            self.outcome.no_log = settings.boolean(self.task, "no_log", scope)
            if refused is not None:
                return refused
            if self.reason is not None:
                return results.unknown(self.reason)
            return self._attempts(scope)
        except LabctlError as error:
            if isinstance(error, Interrupted):
                raise
            if self.outcome.no_log:
                self.outcome.no_log = settings.lenient(self.task, "no_log", scope)
            result = results.of_error(error)
            if result.is_unknown:
                self._unknown_variables(result.unknown or "")
            return result

    @property
    def _asked_for(self) -> bool:
        """Whether this turn's command has been asked for with those of other turns."""
        return bool(self._series and self._at and self._series.has(self._at))

    def _refused(self, scope: Scope, *, tolerant: bool = False) -> Result | None:
        try:
            return verdict.refused(self.task, scope)
        except (UndefinedVariable, UnknownValue):
            if tolerant:
                return None
            raise

    def _attempts(self, scope: Scope) -> Result:
        """As Ansible counts: `retries` more attempts after the first, and none of it (nor `until`) with 0."""
        task = self.task
        repeats = bool(task.until) or task.retries is not None
        given = settings.number(task, "retries", scope, _RETRIES if task.until else 0) if repeats else 0
        retries = max(0, int(given or 0))
        if not retries:
            return self._judged(scope)
        delay = settings.number(task, "delay", scope, 5)
        delay = 1.0 if delay is None or delay < 0 else delay
        for attempt in range(1, retries + 2):
            result = self._judged(scope, attempt)
            if result.unreachable or result.skipped or result.is_unknown or self._reached(scope, result):
                return result
            if checking(task, scope, default=self.run.options.check):
                return results.unknown("it waits for something, and a dry run does not wait", result.values)
            if attempt <= retries:
                shown_result = {} if self.outcome.no_log else self._shown(result)
                self._emit(Kind.RETRY, attempt=attempt, retries=retries, delay=delay, result=shown_result)
                self.run.stop.wait(delay)
        result.values["attempts"] = retries
        if task.until and not result.values.get("msg"):
            conditions = " and ".join(map(str, task.until))
            result.values["msg"] = f"not true after {retries + 1} attempts: {conditions}"
        if task.failed_when and not result.values.get("failed_when_result"):
            result.values["failed"] = (
                True  # what is registered has failed; the task, as failed_when says, has not
            )
            return result
        result.status = Status.FAILED
        return result.complete()

    def _reached(self, scope: Scope, result: Result) -> bool:
        if not self.task.until:
            return not result.failed
        view = verdict.with_result(self.task, scope, result, self._made)
        return view.condition(list(self.task.until), self.task.mark_of("until"))

    def _judged(self, scope: Scope, attempt: int | None = None) -> Result:
        """Run it, then let changed_when and failed_when have the last word."""
        result = self._execute(scope).complete()
        if attempt is not None:
            result.values["attempts"] = attempt
        return verdict.settled(self.task, scope, result, self._made)

    def _execute(self, scope: Scope) -> Result:
        task = self.task
        if task.action == "include_vars":
            variables, files = include_vars.read(task, scope)
            self._made |= variables
            self.outcome.included = True
            self.outcome.variables |= variables
            values = {"ansible_facts": variables, "ansible_included_var_files": files, "changed": False}
            return Result(Status.OK, values)
        if task.task_type is None:
            raise PlaybookError(f"'{task.action}' cannot stand here", mark=task.mark)
        if self._series and self._at and (answer := self._series.answer(self._at)) is not None:
            return answer
        execution = Execution(self.scopes, self.step, self.state, self.outcome)
        result = execution(task.task_type, scope, self._params)
        self._facts_from(result, scope)
        return result

    # what a task says of variables

    def _facts_from(self, result: Result, scope: Scope) -> None:
        facts = result.facts
        if facts is None:
            return
        sets = self.task.action in verdict.SETS_VARIABLES
        if sets:
            self._made |= facts
        target = self.outcome.target
        if target and settings.lenient(self.task, "delegate_facts", scope):
            self.outcome.elsewhere.append((target, {} if sets else dict(facts), dict(facts) if sets else {}))
        else:
            cacheable = bool(result.values.get("_ansible_facts_cacheable"))
            self.outcome.take(facts, sets=sets, cacheable=cacheable)

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
        if self.outcome.target:
            data["delegated"] = self.outcome.target
        if not self.outcome.no_log and result.changes:
            data["changes"] = hide(result.changes, self.outcome.secrets)
        if not self.outcome.no_log and result.diff:
            data["diff"] = hide(result.diff, self.outcome.secrets)
        self._emit(
            Kind.ITEM,
            status=str(status),
            label=hide(label, self.outcome.secrets),
            result=self._shown(result),
            action=self.outcome.action or self.task.action,
            seconds=result.seconds,
            **data,
        )

    def _emit(self, kind: Kind, **data: Any) -> None:
        self.run.bus.emit(kind, play=self.scopes.play_name, task=self.label, host=self.state.name, **data)
