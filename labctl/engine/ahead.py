"""Connecting to the first play's hosts while the rest of the engine is still being loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labctl import configuration
from labctl.engine.options import RunOptions
from labctl.engine.settings import Access, Accesses
from labctl.errors import LabctlError
from labctl.inventory import Inventory
from labctl.playbook import Play, Playbook, Task
from labctl.playbook.loader import shared_templar
from labctl.playbook.tree import Keywords
from labctl.ssh import Connections
from labctl.variables import Scope


def connect(
    connections: Connections, books: Sequence[Playbook], inventory: Inventory, options: RunOptions
) -> None:
    """Begin to connect to the hosts that the run is going to ask first, where it is certain that it will, and
    how: a run that touches no host, or another one first, opens nothing."""
    play = next((play for book in books for play in book.plays), None)
    if play is None or not (node := _first(play, options)):
        return
    try:
        accesses = list(_accesses(play, node, inventory, options))
    except LabctlError:
        return  # the run will say so
    if accesses:
        connections.expect(len(accesses))
        for access in accesses[: options.forks]:
            connections.prepare(access.settings, access.become)


def _first(play: Play, options: RunOptions) -> Keywords | None:
    """What runs first, where every host of the play is sure to run it."""
    chosen = options.resume or options.start_at_task or options.step or options.tags or options.skip_tags
    later = play.vars_prompt or play.vars_files or play.roles or play.serial or play.order
    if chosen or later:
        return None
    if play.gather_facts is None or play.gather_facts is True:
        implicit = (configuration.current().text("gathering") or "implicit") == "implicit"
        return play if implicit else None
    first = next(iter([*play.pre_tasks, *play.tasks]), None)
    if play.gather_facts is not False or not isinstance(first, Task):
        return None
    task_type = first.task_type
    if task_type is None or task_type.on_controller:
        return None
    elsewhere = any(first.inherited(name) for name in ("delegate_to", "run_once", "throttle"))
    maybe = first.conditions or first.loop is not None or "never" in first.all_tags()
    return None if elsewhere or maybe else first


def _accesses(play: Play, node: Keywords, inventory: Inventory, options: RunOptions) -> Iterator[Access]:
    """How each host is reached by SSH, as far as inventory, play and command line say."""
    templar, known = shared_templar(), Accesses(options)
    for host in inventory.match(play.hosts, options.limit, warn=lambda *_: None):
        if options.shard and not options.shard.takes(host):
            continue
        scope = Scope(
            templar, [inventory.seen(host.name, play.dir), play.play_vars(), node.vars, options.extra_vars]
        )
        access = known.plain(node, host.name, scope)
        if access and access.settings.connection == "ssh":
            yield access
