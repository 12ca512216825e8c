"""`debugger`: look at a task that has just ended, on a terminal, and run it again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from labctl.engine import settings
from labctl.engine.journal import plain
from labctl.engine.outcome import Outcome
from labctl.engine.results import Result, hide
from labctl.engine.state import Run
from labctl.errors import LabctlError, PlaybookError
from labctl.events import Kind
from labctl.playbook.tree import Task
from labctl.variables import Scope

WHEN = ("always", "never", "on_failed", "on_unreachable", "on_skipped")
_HELP = "p EXPRESSION prints it (result, task.args, any variable), r runs the task again, c goes on, q ends the run"
_one_at_a_time = threading.Lock()


def again(task: Task, scope_of: Callable[[], Scope], outcome: Outcome, host: str, run: Run) -> bool:
    """Talk with the user where the task's `debugger` asks for it; whether to run the task again."""
    when = task.inherited("debugger")
    if when is None or str(when) == "never":
        return False
    scope = scope_of()
    try:
        when = settings.text(task, "debugger", scope)
    except LabctlError:
        return False
    if when not in WHEN:
        hint = f"one of {', '.join(WHEN)}"
        raise PlaybookError(f"'debugger' cannot be '{when}'", mark=task.inherited_mark("debugger"), hint=hint)
    if not _wanted(when, outcome):
        return False
    if run.options.ask is None:
        message = f"{task.label()}: 'debugger: {when}' needs a terminal, and this is none: going on"
        run.bus.emit(Kind.WARNING, message=message, mark=str(task.inherited_mark("debugger")))
        return False
    with _one_at_a_time:
        return _talk(task, scope, outcome, host, run)


def _wanted(when: str, outcome: Outcome) -> bool:
    result = outcome.result
    match when:
        case "always":
            return True
        case "on_failed":
            return result.failed and not outcome.ignore_errors
        case "on_unreachable":
            return result.unreachable and not outcome.ignore_unreachable
        case "on_skipped":
            return result.skipped
    return False


def _talk(task: Task, scope: Scope, outcome: Outcome, host: str, run: Run) -> bool:
    assert run.options.ask is not None
    _say(run, f"{task.label()} on {host} is {outcome.result.status}. {_HELP}")
    while True:
        said = run.options.ask(f"[{host}] {task.label()} (debug)", False, run.stop.check).strip()
        word, _blank, rest = said.partition(" ")
        match word:
            case "c" | "continue":
                return False
            case "r" | "redo":
                return True
            case "q" | "quit":
                run.stop.ask("ended in the debugger")
                run.stop.check()
            case "p" | "print" if rest:
                _say(run, _value(task, scope, outcome, rest))
            case _:
                _say(run, _HELP)


def _value(task: Task, scope: Scope, outcome: Outcome, expression: str) -> str:
    result: Result = outcome.result
    known: dict[str, Any] = {
        "result": hide(result.shown(no_log=outcome.no_log), outcome.secrets),
        "task": {"name": task.label(), "action": task.action, "args": dict(task.args)},
        "host": scope.get("inventory_hostname"),
    }
    try:
        value = scope.over(known).evaluate(expression, task.mark)
    except LabctlError as error:
        return error.message
    return json.dumps(value, indent=2, default=plain)


def _say(run: Run, message: str) -> None:
    run.bus.emit(Kind.MESSAGE, message=message)
