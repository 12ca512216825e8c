"""`include_tasks` and `include_role`: tasks that are read when the run reaches them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from labctl import yaml
from labctl.engine import results, settings, verdict
from labctl.engine.loops import turns
from labctl.engine.results import Result
from labctl.engine.state import Frame, HostState, Step
from labctl.engine.task import Outcome
from labctl.errors import LabctlError, UndefinedVariable, UnknownValue
from labctl.events import Kind, Status
from labctl.playbook import load_role, load_tasks
from labctl.playbook.handlers import handlers_of
from labctl.playbook.tree import Entry, Handler, Task, walk
from labctl.records import dataclass
from labctl.task_types import to_bool
from labctl.variables import Scope

if TYPE_CHECKING:
    from labctl.engine.flow import Flow


@dataclass
class _Include:
    """The same file (or role) with the same variables, for some hosts."""

    arguments: dict[str, Any]
    params: dict[str, Any]
    item: str | None  # its label, where the include is in a loop
    hosts: list[HostState]


def run(flow: Flow, step: Step, acting: list[HostState], hosts: list[HostState]) -> None:
    """Work out what each host includes, then walk each different include with its hosts (with run_once that
    one host alone, as in Ansible)."""
    found: dict[tuple[str, int], _Include] = {}
    for host in acting:
        try:
            wanted = _of_host(flow, step.task, host, step.frame)
        except LabctlError as error:
            flow.record(step, host, Outcome(results.of_error(error)))
            continue
        if isinstance(wanted, Result):
            flow.record(step, host, Outcome(wanted))
            continue
        turns_of: Counter[str] = Counter()
        for arguments, params, item in wanted:
            key = repr((arguments, params))
            turns_of[key] += 1  # a host may include the same more than once
            include = found.setdefault((key, turns_of[key]), _Include(arguments, params, item, []))
            include.hosts.append(host)
    flow.after(step, acting, hosts)
    loaded: dict[str, list[Entry]] = {}
    ready = [include for include in found.values() if _begin(flow, step, include, loaded)]
    for include in ready:
        live = [host for host in include.hosts if host.alive]
        entries = loaded[_key(include)]
        for host in live:
            host.left -= {entry.role for entry in entries if entry.role}  # it may come back in a loop
        if live:
            flow.walk(entries, live, step.frame.inside(include.params))


def _of_host(
    flow: Flow, task: Task, host: HostState, frame: Frame
) -> list[tuple[dict[str, Any], dict[str, Any], str | None]] | Result:
    """What one host includes, turn by turn, or why it includes nothing."""
    scope = flow.scope(host, task, frame)
    if task.loop is None:
        if (refused := verdict.refused(task, scope)) is not None:
            return refused
        return [(_arguments(task, scope), _vars(task, scope), None)]
    try:
        todo = turns(task, scope)
    except (UndefinedVariable, UnknownValue):
        if (refused := verdict.refused(task, scope)) is not None:
            return refused
        raise
    found: list[tuple[dict[str, Any], dict[str, Any], str | None]] = []
    for turn in todo:
        inner = flow.scope(host, task, frame.inside(turn.variables))
        if verdict.refused(task, inner) is None:
            label = turn.label(inner, no_log=settings.lenient(task, "no_log", inner))
            found.append((_arguments(task, inner), {**turn.variables, **_vars(task, inner)}, str(label)))
    return found or results.skipped("No items in the list" if not todo else "All items skipped", results=[])


def _arguments(task: Task, scope: Scope) -> dict[str, Any]:
    return {
        name: scope.render(value, task.arg_mark(name)) for name, value in task.args.items() if name != "apply"
    }


def _vars(task: Task, scope: Scope) -> dict[str, Any]:
    """The include's `vars`, rendered now so that inner loops cannot change them; those that only make
    sense later stay as written."""
    found: dict[str, Any] = {}
    for name, value in task.vars.items():
        try:
            found[name] = scope.render(value, task.mark_of("vars"))
        except LabctlError:
            continue
    return found


def _key(include: _Include) -> str:
    return repr(sorted(include.arguments.items()))


def _begin(flow: Flow, step: Step, include: _Include, loaded: dict[str, list[Entry]]) -> bool:
    """Read what is included, and tell of it; whether there is anything to walk through."""
    hosts = [host for host in include.hosts if host.alive]
    if not hosts:
        return False
    what = str(
        include.arguments.get("file") or include.arguments.get("name") or include.arguments.get("role")
    )
    key = _key(include)
    try:
        if key not in loaded:
            loaded[key] = _load(flow, step.task, include)
    except LabctlError as error:
        for host in hosts:
            flow.record(step, host, Outcome(results.of_error(error)))
        flow.after(step, hosts, hosts)
        return False
    flow.run.history.loaded(step.task, loaded[key])
    flow.emit(
        Kind.INCLUDE, task=step.label, file=what, item=include.item, hosts=[host.name for host in hosts]
    )
    for host in hosts:
        host.count(str(Status.OK))
    return True


def _load(flow: Flow, task: Task, include: _Include) -> list[Entry]:
    registry = flow.run.registry
    if task.action == "include_tasks":
        entries = load_tasks(str(include.arguments["file"]), registry, parent=task)
        flow.handlers.add(handlers_of(entries))
        return entries
    arguments = yaml.Mapping(task.mark)
    for name, value in include.arguments.items():
        arguments[name] = value
        arguments.value_marks[name] = task.arg_mark(name)
    role, entries = load_role(arguments, registry, parent=task)
    for each in role.with_dependencies():
        flow.handlers.add([entry for entry in walk(each.handlers) if isinstance(entry, Handler)])
    role.public = to_bool(include.arguments.get("public") or False)
    flow.handlers.add(handlers_of(entries))
    flow.scopes.add_role(role)
    return entries
