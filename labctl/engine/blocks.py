"""Blocks: rescue, always, and in labctl also loop and until."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from labctl import yaml
from labctl.engine import results, settings
from labctl.engine.loops import Turn, turns
from labctl.engine.state import Frame, HostState, Step
from labctl.engine.task import Outcome
from labctl.errors import LabctlError
from labctl.events import Kind
from labctl.playbook.tree import Block, Task

if TYPE_CHECKING:
    from labctl.engine.flow import Flow


_INHERITED = [
    "any_errors_fatal",
    "become",
    "become_method",
    "become_user",
    "check_mode",
    "connection",
    "delegate_facts",
    "delegate_to",
    "diff",
    "environment",
    "ignore_errors",
    "ignore_unreachable",
    "no_log",
    "notify",
    "port",
    "remote_user",
    "run_once",
    "throttle",
    "timeout",
]


def run(flow: Flow, block: Block, hosts: list[HostState], frame: Frame) -> None:
    if block.loop is None:
        _guarded(flow, block, hosts, frame)
        return
    todo: dict[str, list[Turn]] = {}
    for host in hosts:
        try:
            scope = flow.scope(host, block, frame)
            todo[host.name] = turns(block, scope) if _runs(flow, block, host, frame) else []
        except LabctlError as error:
            _fail(flow, block, host, frame, error)
    for index in range(max((len(found) for found in todo.values()), default=0)):
        here = [host for host in hosts if host.alive and index < len(todo.get(host.name, ()))]
        if not here:
            continue
        if index and (pause := max(todo[host.name][index].pause for host in here)):
            flow.run.stop.wait(pause)
        for group, variables in _together(here, todo, index):
            _guarded(flow, block, group, frame.inside(variables))
        for host in here:
            turn = todo[host.name][index]
            inner = flow.scope(host, block, frame.inside(turn.variables))
            if host.alive and turn.breaks(inner, None, {}):
                todo[host.name] = todo[host.name][: index + 1]


def _runs(flow: Flow, block: Block, host: HostState, frame: Frame) -> bool:
    """Whether the loop is needed at all: a `when` that can be told without its item may say no."""
    scope = flow.scope(host, block, frame)
    try:
        return scope.condition(block.conditions, block.mark_of("when"))
    except LabctlError:
        return True


def _together(
    hosts: Sequence[HostState], todo: dict[str, list[Turn]], index: int
) -> list[tuple[list[HostState], dict[str, object]]]:
    """Hosts whose turn has the same variables, so that they walk side by side."""
    groups: list[tuple[list[HostState], dict[str, object]]] = []
    for host in hosts:
        variables = dict(todo[host.name][index].variables)
        for group, known in groups:
            if known == variables:
                group.append(host)
                break
        else:
            groups.append(([host], variables))
    return groups


def _guarded(flow: Flow, block: Block, hosts: list[HostState], frame: Frame) -> None:
    """The block with its rescue and always. Who fails by the run_once of another host misses the first of
    them that follows, as in Ansible."""
    inner = frame.inside(rescuable=bool(block.rescue))
    _repeated(flow, block, hosts, inner)
    dragged = [host for host in hosts if host.dragged]
    for host in dragged:
        host.dragged = False
    if block.rescue:
        broken = [h for h in hosts if (h.failed or h.unreachable) and h not in dragged]
        for host in broken:
            host.failed = host.unreachable = False
        if broken:
            flow.walk(block.rescue, broken, frame)
    if block.always:
        # A host that cannot be reached gets its always only where a rescue may bring it back.
        there = [h for h in hosts if not h.ended and (not h.unreachable or inner.rescuable)]
        there = [h for h in there if block.rescue or h not in dragged]
        before = {host.name: (host.failed, host.unreachable, host.cleared) for host in there}
        for host in there:
            host.failed = host.unreachable = False
        flow.walk(block.always, there, frame)
        for host in there:
            failed, unreachable, cleared = before[host.name]
            if cleared == host.cleared:
                host.failed = host.failed or failed
                host.unreachable = host.unreachable or unreachable


def _repeated(flow: Flow, block: Block, hosts: list[HostState], frame: Frame) -> None:
    """The block's own tasks, again and again while its `until` is not true on a host."""
    if not block.until and block.retries is None:
        flow.walk(block.block, hosts, frame)
        return
    first = flow.scope(hosts[0], block, frame)
    retries = int(settings.number(block, "retries", first, 3) or 0)
    delay = max(0.0, settings.number(block, "delay", first, 5) or 0.0)
    waiting = list(hosts)
    for attempt in range(1, retries + 2):
        last = attempt > retries or flow.run.options.check
        flow.walk(block.block, waiting, frame if last else frame.inside(rescuable=True))
        waiting = [
            host for host in waiting if not host.ended and not _reached(flow, block, host, frame, last=last)
        ]
        if last or not waiting:
            return
        for host in waiting:
            host.failed = host.unreachable = False
            flow.emit(
                Kind.RETRY,
                task=block.name or "block",
                host=host.name,
                attempt=attempt,
                retries=retries,
                delay=delay,
                result={},
            )
        flow.run.stop.wait(delay)


def _reached(flow: Flow, block: Block, host: HostState, frame: Frame, *, last: bool) -> bool:
    if not host.alive:
        return False
    if not block.until:
        return True
    try:
        scope = flow.scope(host, block, frame)
        reached = scope.condition(list(block.until), block.mark_of("until"))
    except LabctlError as error:
        _fail(flow, block, host, frame, error)
        return False
    if not reached and last:
        conditions = " and ".join(map(str, block.until))
        _end(flow, block, host, frame, results.failed(f"still not true after the last attempt: {conditions}"))
    return reached


def _fail(flow: Flow, block: Block, host: HostState, frame: Frame, error: LabctlError) -> None:
    _end(flow, block, host, frame, results.of_error(error))


def _end(flow: Flow, block: Block, host: HostState, frame: Frame, result: results.Result) -> None:
    """Report a fault of the block itself as that of a task of its name."""
    task = Task(
        mark=block.mark,
        parent=block,
        name=block.name or "block",
        action="block",
        args=yaml.Mapping(block.mark),
    )
    step = Step(task, task.label(), frame)
    flow.start(step, [host])
    flow.record(step, host, Outcome(result))


def failed_task(task: Task) -> dict[str, Any]:
    """A task as the rescue of its failure sees it (`ansible_failed_task`): its keywords as written."""
    return {
        **{keyword: task.inherited(keyword) for keyword in _INHERITED},
        "name": task.name or "",
        "action": task.action,
        "args": dict(task.args),
        "tags": task.all_tags(),
        "when": task.conditions,
        "vars": dict(task.vars),
        "register": task.register,
        "loop": task.loop,
        "until": list(task.until),
    }
