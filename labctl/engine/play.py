"""One play: its hosts, batch by batch, through facts, tasks and handlers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.engine import prompts, settings
from labctl.engine.flow import Flow
from labctl.engine.pool import Inline
from labctl.engine.scopes import Scopes
from labctl.engine.state import Frame, HostState, Run
from labctl.errors import LabctlError, Mark, PlaybookError
from labctl.events import Kind
from labctl.playbook import Entry, Play, Task
from labctl.playbook.start import may_start
from labctl.playbook.tasks import add_module_defaults
from labctl.task_types import describe
from labctl.variables import Scope, load_vars_files

_PARALLEL = ("free", "host_pinned")
_GATHER = ("gather_subset", "gather_timeout", "fact_path")


def run(shared: Run, play: Play) -> bool:
    """Run a play; False when nothing may run after it."""
    shared.enter_playbook(play.dir)
    matched, hosts = _hosts(shared, play)
    title = _title(shared, play)
    shared.bus.emit(
        Kind.PLAY_START,
        play=title,
        name=title,
        hosts=[host.name for host in hosts],
        path=f"{play.mark.file}:{play.mark.line}",
    )
    if not hosts:
        if (shard := shared.options.shard) and not matched:
            shared.bus.emit(Kind.MESSAGE, play=title, message=f"no hosts matched in shard {shard}")
        return True
    shared.connections.expect(len(hosts))
    scopes = Scopes(shared, play, hosts)
    scopes.matched = [state.name for state in matched]
    scopes.prompted = prompts.answers(shared, play)
    for batch in _batches(play, hosts, scopes):
        scopes.batch = batch
        if not _run_batch(shared, play, scopes, batch):
            return False
    return True


def _title(shared: Run, play: Play) -> str:
    """The play's name, rendered as far as it can be before any host is asked."""
    try:
        known = Scope(shared.templar, [play.play_vars(), shared.options.extra_vars])
        return str(known.render(play.title(), play.mark_of("name")))
    except LabctlError:
        return play.title()


def _hosts(shared: Run, play: Play) -> tuple[list[HostState], list[HostState]]:
    """The play's hosts as the inventory has them, and in the play's order those that have not failed in an
    earlier play."""
    known = Scope(shared.templar, [play.play_vars(), shared.options.extra_vars])
    pattern = known.render(play.hosts, play.mark_of("hosts"))
    known_gaps = {message for message, _mark in shared.inventory.warnings}

    def warn(message: str, mark: Mark | None) -> None:
        if message not in known_gaps:
            at = mark or play.mark_of("hosts")
            shared.bus.emit(Kind.WARNING, message=message, mark=str(at))

    try:
        found = shared.inventory.match(pattern, shared.options.limit, warn=warn)
    except LabctlError as error:
        error.mark = error.mark or play.mark_of("hosts")
        raise
    if shard := shared.options.shard:
        found = [host for host in found if shard.takes(host)]
    states = [shared.host(host.name) for host in found]
    for state in states:
        state.ended = False
    alive = [state for state in states if state.alive]
    match str(play.order or "inventory"):
        case "sorted":
            alive.sort(key=lambda state: state.name)
        case "reverse_sorted":
            alive.sort(key=lambda state: state.name, reverse=True)
        case "reverse_inventory":
            alive.reverse()
        case "shuffle":
            random.shuffle(alive)
        case _:
            pass
    return states, alive


def _batches(play: Play, hosts: list[HostState], scopes: Scopes) -> Iterator[list[HostState]]:
    """`serial`: a number, a percentage, or a list of them whose last one repeats."""
    mark = play.mark_of("serial")
    serial = scopes.scope(hosts[0]).render(play.serial, mark)
    steps = serial if isinstance(serial, list) else [serial]
    sizes = [_size(step, len(hosts), mark) for step in steps] or [len(hosts)]
    start = turn = 0
    while start < len(hosts):
        size = sizes[min(turn, len(sizes) - 1)]
        yield hosts[start : start + size]
        start, turn = start + size, turn + 1


def _size(step: Any, total: int, mark: Any) -> int:
    try:
        text = str(step if step is not None else 0).strip()
        wanted = int(total * float(text[:-1]) / 100) or 1 if text.endswith("%") else int(text)
    except ValueError:
        message = f"'serial' must be a number or a percentage, not {describe(step)}"
        raise PlaybookError(message, mark=mark) from None
    return wanted if wanted > 0 else max(1, total)


def _run_batch(shared: Run, play: Play, scopes: Scopes, batch: Sequence[HostState]) -> bool:
    configured = shared.configuration.text("strategy")
    strategy = settings.text(play, "strategy", scopes.scope(batch[0])) or configured or "linear"
    strategy = strategy.removeprefix("ansible.builtin.")
    if strategy in _PARALLEL:
        flows = [
            Flow(shared, play, scopes, [host], pool=Inline(shared.stop, shared.settle)) for host in batch
        ]
        shared.pool.run([partial(_walk, flow) for flow in flows], lambda _index, _value: None)
    elif strategy == "linear":
        flows = [Flow(shared, play, scopes, batch)]
        _walk(flows[0])
    else:
        raise PlaybookError(
            f"there is no strategy '{strategy}'",
            mark=play.mark_of("strategy"),
            hint="linear, free, host_pinned",
        )
    everyone_failed = all(host.failed or host.unreachable for host in batch)
    return not everyone_failed and not any(flow.broken for flow in flows)


def _walk(flow: Flow) -> None:
    """Everything the hosts of one flow do in this play."""
    play, hosts = flow.play, flow.batch
    for host in hosts:
        _read_files(flow, host)
    _gather(flow, hosts)
    sections = dict(play.sections())
    groups: list[list[Entry]] = [
        sections["pre_tasks"],
        [*sections["roles"], *sections["tasks"]],
        sections["post_tasks"],
    ]
    for entries in groups:
        flow.walk(entries, hosts, Frame())
        _flush(flow, hosts)


def _read_files(flow: Flow, host: HostState) -> None:
    """The play's vars_files, whose names may differ from host to host."""
    play = flow.play
    if not play.vars_files:
        return
    folders = [play.dir, play.dir / "vars"]

    def find(name: str) -> Path | None:
        given = Path(name).expanduser()
        return next((path for folder in folders if (path := folder / given).is_file()), None)

    merged: dict[str, Any] = {}
    scope = flow.scope(host)
    for layer in load_vars_files(list(play.vars_files), scope, find, play.mark_of("vars_files")):
        merged |= layer
    flow.scopes.files[host.name] = merged


def _gather(flow: Flow, hosts: Sequence[HostState]) -> None:
    """Facts of the play's hosts, unless it says no; those known already only when gathering is not smart."""
    play = flow.play
    policy = flow.run.configuration.text("gathering") or "implicit"
    default = policy != "explicit"
    wanted = settings.boolean(play, "gather_facts", flow.scope(hosts[0]), default=default)
    missing = [host for host in hosts if host.alive and (policy != "smart" or not host.gathered)]
    start = flow.run.options.start_at_task
    if not flow.run.started and start is not None and not may_start(play, start):
        return
    if not wanted or not missing:
        return
    arguments = yaml.Mapping(play.mark)
    for name in _GATHER:
        if (value := getattr(play, name)) is not None:
            arguments[name] = value
            arguments.value_marks[name] = play.mark_of(name)
    task = Task(
        mark=play.mark,
        parent=play,
        name="Gathering Facts",
        tags=["always"],
        action="setup",
        task_type=flow.run.registry.get("setup", play.mark),
        args=arguments,
    )
    add_module_defaults(task)
    flow.walk([task], missing, Frame())


def _flush(flow: Flow, hosts: Sequence[HostState]) -> None:
    """Notified handlers; with force_handlers also those of hosts that have failed."""
    default = flow.run.options.force_handlers or flow.run.configuration.boolean("force_handlers")
    forced = settings.boolean(flow.play, "force_handlers", flow.scope(hosts[0]), default=bool(default))
    failed = [host for host in hosts if forced and host.failed]
    for host in failed:
        host.failed = False
    flow.flush(hosts)
    for host in failed:
        host.failed = True
