"""`--list-hosts`, `--list-tasks`, `--list-tags` and `--syntax-check`, in Ansible's words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from labctl.cli import common

if TYPE_CHECKING:
    from labctl.engine.shard import Shard
    from labctl.inventory import Inventory
    from labctl.playbook import Playbook


def show(
    args: argparse.Namespace, books: Sequence[Playbook], inventory: Inventory, shard: Shard | None = None
) -> None:
    """Print what was asked for about every playbook; InventoryError for an unknown host. Of the hosts those in
    `shard`."""
    for book in books:
        lines = ["", f"playbook: {book.path}", *_plays(args, book, inventory, shard)]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stderr.writelines(f"[WARNING]: {mark}: {said}\n" for said, mark in book.warnings)


def _plays(
    args: argparse.Namespace, book: Playbook, inventory: Inventory, shard: Shard | None
) -> Iterator[str]:
    from labctl.playbook import list_hosts, list_tags, list_tasks

    if not (args.list_hosts or args.list_tasks or args.list_tags):
        return
    only, skip = common.split_tags(args.tags), common.split_tags(args.skip_tags)
    if args.list_tags and not only:
        only = frozenset({"all", "never"})  # every tag there is
    tagged = list_tags(book, only, skip) if args.list_tags else [None] * len(book.plays)
    hosts = list_hosts(book, inventory, args.limit) if args.list_hosts else [None] * len(book.plays)
    for play, with_tags, with_hosts in zip(list_tasks(book, only, skip), tagged, hosts, strict=True):
        yield ""
        yield f"  play #{play.number} ({play.pattern}): {play.name}\tTAGS: [{', '.join(play.tags)}]"
        if with_hosts:
            names = [name for name in with_hosts.hosts if shard is None or shard.takes(inventory.host(name))]
            yield f"    pattern: {play.pattern.split(',')}"
            yield f"    hosts ({len(names)}):"
            yield from (f"      {name}" for name in names)
        if args.list_tasks:
            yield "    tasks:"
            yield from (f"      {task.label}\tTAGS: [{', '.join(task.tags)}]" for task in play.tasks)
        if with_tags:
            yield f"      TASK TAGS: [{', '.join(with_tags.tags)}]"
