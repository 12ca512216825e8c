"""`labctl run`: playbooks against an inventory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.cli import common
from labctl.events import Bus, Kind
from labctl.paths import own_or_builtin
from labctl.task_types import Registry

if TYPE_CHECKING:
    from labctl.engine import RunOptions
    from labctl.inventory import Inventory
    from labctl.playbook import Playbook


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("run", help="run playbooks against an inventory")
    parser.add_argument("playbooks", nargs="+", metavar="PLAYBOOK", help="playbook files")
    common.add_inventory(parser)
    common.add_execution(parser)
    parser.add_argument(
        "-t", "--tags", action="append", default=[], metavar="TAGS", help="only tasks with these"
    )
    parser.add_argument(
        "--skip-tags", action="append", default=[], metavar="TAGS", help="not tasks with these"
    )
    parser.add_argument("--start-at-task", metavar="NAME", help="begin with the task of this name")
    parser.add_argument(
        "--force-handlers", action="store_true", help="run handlers of hosts that failed, too"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--syntax-check", action="store_true", help="read and check everything, touch no host")
    what.add_argument("--list-hosts", action="store_true", help="list the hosts of each play")
    what.add_argument("--list-tasks", action="store_true", help="list the tasks of each play")
    what.add_argument("--list-tags", action="store_true", help="list the tags of each play")
    common.add_connection(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.playbook import load_playbook

    options = common.options(args, sys.argv[1:])
    sources, inventory = common.load_inventory(args)
    playbooks = [own_or_builtin(name) for name in args.playbooks]
    registry = registry_for([Path(name) for name in playbooks])
    books = [load_playbook(name, registry, extra_vars=options.extra_vars) for name in playbooks]
    if args.syntax_check or args.list_hosts or args.list_tasks or args.list_tags:
        return _list(args, books, inventory)
    _check_patterns(books, inventory, args.limit)
    return execute(args, Work(options, sources, inventory, registry, books))


def registry_for(playbooks: list[Path]) -> Registry:
    """The built-in task types, and those in tasks/ beside a playbook or beside its folder."""
    folders = [folder / "tasks" for path in playbooks for folder in (path.parent, path.parent.parent)]
    return Registry(
        [folder for folder in dict.fromkeys(folders) if folder.is_dir() and any(folder.glob("*.py"))]
    )


@dataclass(frozen=True)
class Work:
    """What is run, where, and how."""

    options: RunOptions
    sources: list[str]
    inventory: Inventory
    registry: Registry
    books: list[Playbook]


def execute(args: argparse.Namespace, work: Work) -> int:
    """Bring up the inventory's labs, run, and say where everything is; the exit code comes back."""
    from labctl import engine

    bus = Bus()
    renderer: Any = common.console(args)
    bus.subscribe(renderer)
    try:
        if work.inventory.labs and work.options.check:
            bus.emit(
                Kind.MESSAGE,
                message="a dry run reads the nodes' real state, so the lab is started if it is down",
            )
        labs = common.start_labs(work.inventory, bus)
        result = engine.run(
            work.books,
            work.inventory,
            work.options,
            bus,
            registry=work.registry,
            inventory_sources=work.sources,
        )
    finally:
        renderer.close()
    if args.output != "json":
        _farewell(result.run_dir, work.sources if labs else ())
    return result.exit_code


def _farewell(run_dir: Path, lab_sources: Sequence[str]) -> None:
    lines = [""]
    if (run_dir / "report.json").exists() or (run_dir / "report.md").exists():
        from labctl.report import summary

        if text := summary(run_dir):
            lines += [text.rstrip(), ""]
    lines.append(f"run folder: {_near(run_dir)}")
    if lab_sources:
        named = " ".join(f"-i {source}" for source in lab_sources)
        lines.append(f"the lab stays up; take it down with: labctl lab down {named}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _near(path: Path) -> str:
    """Relative to here when it is below."""
    here = Path.cwd()
    whole = path.resolve()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(path)


def _check_patterns(books: list[Playbook], inventory: Inventory, limit: str | None) -> None:
    """A misspelt host pattern or limit is said before any host is touched."""
    from labctl.errors import InventoryError

    for book in books:
        for play in book.plays:
            if "{{" in str(play.hosts):
                continue
            try:
                inventory.match(play.hosts, limit)
            except InventoryError as error:
                error.mark = error.mark or play.mark_of("hosts")
                raise


def _list(args: argparse.Namespace, books: list[Playbook], inventory: Inventory) -> int:
    from labctl.playbook import list_hosts, list_tags, list_tasks

    for book in books:
        sys.stdout.write(f"\nplaybook: {book.path}\n")
        tags, skip = common.split_tags(args.tags), common.split_tags(args.skip_tags)
        if args.list_tasks:
            listed = list_tasks(book, tags, skip)
        elif args.list_tags:
            listed = list_tags(book, tags, skip)
        else:
            listed = list_hosts(book, inventory, args.limit)
        for play in listed:
            names = ", ".join(play.tags)
            sys.stdout.write(f"\n  play #{play.number} ({play.pattern}): {play.name}\tTAGS: [{names}]\n")
            if args.list_hosts:
                sys.stdout.write(f"    hosts ({len(play.hosts)}):\n")
                sys.stdout.writelines(f"      {host}\n" for host in play.hosts)
            elif args.list_tasks:
                sys.stdout.write("    tasks:\n")
                sys.stdout.writelines(f"      {t.label}\tTAGS: [{', '.join(t.tags)}]\n" for t in play.tasks)
    return 0
