"""`meta`: what a playbook can say to the engine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.engine import results
from labctl.engine.state import HostState, Step
from labctl.engine.task import Outcome
from labctl.errors import LabctlError, PlaybookError
from labctl.playbook.actions import META_ACTIONS

if TYPE_CHECKING:
    from labctl.engine.flow import Flow


# What is done for all hosts alike, if the first one's condition says so.
_FOR_ALL = ("clear_facts", "clear_host_errors", "end_batch", "end_play", "refresh_inventory")


def run(flow: Flow, step: Step, hosts: list[HostState]) -> None:
    task, frame = step.task, step.frame
    what = str(flow.scope(hosts[0], task, frame).render(task.args.get("action"), task.arg_mark("action")))
    there: list[HostState] = []
    for host in hosts[:1] if what in _FOR_ALL else hosts:
        try:
            scope = flow.scope(host, task, frame)
            if scope.condition(task.conditions, task.mark_of("when")):
                there.append(host)
        except LabctlError as error:
            flow.start(step, [host])
            flow.record(step, host, Outcome(results.of_error(error)))
    if there:
        _do(flow, step, what, there)


def _do(flow: Flow, step: Step, what: str, hosts: list[HostState]) -> None:
    task = step.task
    match what:
        case "noop":
            pass
        case "flush_handlers":
            flow.flush(hosts, step.frame)
        case "end_host":
            for host in hosts:
                host.ended = True
        case "end_role":
            if task.role is None:
                raise PlaybookError("'meta: end_role' stands in no role", mark=task.arg_mark("action"))
            for host in hosts:
                host.left.add(task.role)
        case "end_batch":
            for host in flow.batch:
                host.ended = host.ended or host.alive
        case "end_play":
            for host in flow.scopes.everyone:
                host.ended = host.ended or host.alive
        case "clear_host_errors":
            for host in [flow.run.host(name) for name in flow.scopes.matched]:  # in earlier plays, too
                host.ended = host.ended or host.failed  # as in Ansible it is back in the next play
                host.failed = host.unreachable = False
                host.cleared += 1
                host.codes.clear()
        case "clear_facts":
            for host in flow.scopes.everyone:
                host.facts.clear()
                host.gathered = False
        case "refresh_inventory":
            flow.run.refresh_inventory()
        case "reset_connection":
            for host in hosts:
                flow.run.connections.drop(host.name)
        case _:
            raise PlaybookError(
                f"'meta: {what}' is not something labctl can do",
                mark=task.arg_mark("action"),
                hint=f"it has {', '.join(META_ACTIONS)}",
            )
