"""`labctl run`: playbooks against an inventory."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl.cli import common, flags
from labctl.errors import UsageError, did_you_mean
from labctl.events import Bus, Kind
from labctl.paths import own_or_builtin
from labctl.records import dataclass

if TYPE_CHECKING:
    from labctl.engine.options import RunOptions
    from labctl.engine.resume import Earlier
    from labctl.errors import Mark
    from labctl.inventory import Inventory
    from labctl.playbook import Play, Playbook
    from labctl.task_types import Registry


_EPILOG = """\
exit codes: 0 all well; 2 a task failed; 3 with --check: nothing failed, and something would change or may;
4 a host is unreachable; 5 bad command line; 6 bad playbook; 7 bad inventory; 8 bad variable;
9 this machine cannot do it; 130 interrupted; 1 a fault of labctl itself"""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="run playbooks against an inventory",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.intermixed = True
    parser.add_argument(
        "playbooks", nargs="*", metavar="PLAYBOOK", help="playbook files, run one after the other"
    )
    flags.add_inventory(parser)
    flags.add_shard(parser)
    flags.add_execution(parser)
    parser.add_argument(
        "--junit-xml", metavar="FILE", help="write a JUnit report to FILE, whatever --output says"
    )
    parser.add_argument(
        "-t", "--tags", action="append", default=[], metavar="TAGS", help="only tasks with these"
    )
    parser.add_argument(
        "--skip-tags", action="append", default=[], metavar="TAGS", help="not tasks with these"
    )
    parser.add_argument(
        "--start-at-task", metavar="NAME", help="begin with the task of this name (* and ? match)"
    )
    parser.add_argument(
        "--step", action="store_true", help="ask before each task: yes, no, or continue without asking"
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on where each host stopped in this run: its folder, or 'last'"
    )
    parser.add_argument(
        "--force-handlers", action="store_true", help="run handlers of hosts that failed, too"
    )
    what = parser.add_argument_group("instead of running")
    what.add_argument("--syntax-check", action="store_true", help="read and check everything, touch no host")
    what.add_argument("--list-hosts", action="store_true", help="list the hosts of each play")
    what.add_argument("--list-tasks", action="store_true", help="list the tasks of each play")
    what.add_argument("--list-tags", action="store_true", help="list the tags of each play")
    flags.add_connection(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.cli import knocking

    earlier = _earlier(args)
    if not args.playbooks:
        raise UsageError("which playbook? none is named", hint="labctl run PLAYBOOK -i INVENTORY")
    playbooks = [own_or_builtin(name) for name in args.playbooks]
    sources, inventory = common.load_inventory(args)
    if not (args.syntax_check or args.list_hosts or args.list_tasks or args.list_tags):
        knocking.begin(args, Path(playbooks[0]), inventory)
    options = replace(common.options(args, sys.argv[1:]), resume=earlier.folder if earlier else None)
    from labctl.playbook import load_playbook  # it takes its time to load, in which the hosts get ready

    registry = registry_for([Path(name) for name in playbooks], args.module_path)
    if args.shard:
        from labctl.engine.shard import divide

        index, of = args.shard
        options = replace(options, shard=divide(inventory, index, of, args.limit))
    books = [load_playbook(name, registry, extra_vars=options.extra_vars) for name in playbooks]
    for book in books:
        _check_names(book, inventory, options, unused=args.syntax_check or args.verbose > 0)
    _check_tags(books, options)
    if options.shard:
        from labctl.engine.shard_doubts import doubts

        books[0].warnings += doubts(books, options.shard.of)
    if args.syntax_check or args.list_hosts or args.list_tasks or args.list_tags:
        from labctl.cli import listing

        listing.show(args, books, inventory, options.shard)
        return 0
    if args.step and options.ask is None:
        raise UsageError("--step asks before each task, and this is no terminal")
    _check_secrets(books)
    _check_start(books, options.start_at_task)
    _check_patterns(books, inventory, args.limit)
    return execute(args, Work(options, sources, inventory, registry, books))


def _check_names(book: Playbook, inventory: Inventory, options: RunOptions, *, unused: bool) -> None:
    """Warn of variables that nothing gives a value, of values that nothing uses, and of files that are missing."""
    from labctl.playbook.controller_files import missing
    from labctl.playbook.names import Names

    names = Names(book, inventory, options.extra_vars)
    book.warnings += names.unknown()
    book.warnings += missing(book)
    if unused:
        book.warnings += names.unused()


def _check_secrets(books: list[Playbook]) -> None:
    """What cannot be decrypted is said before any host is touched."""
    from labctl.playbook import vars_files
    from labctl.variables import load_vars_file

    for play in (play for book in books for play in book.plays):
        for path in vars_files.files(play):
            load_vars_file(path)


def _check_tags(books: list[Playbook], options: RunOptions) -> None:
    """Warn of --tags and --skip-tags that no task has: one of them misspelt runs nothing, or too much."""
    if not (options.tags or options.skip_tags):
        return
    from labctl.playbook.listing import unknown_tags

    for flag, tags in (("--tags", options.tags), ("--skip-tags", options.skip_tags)):
        for tag, hint in unknown_tags(books, sorted(tags)):
            books[0].warnings.append(
                (f"{flag}: no task has the tag '{tag}'{f'; {hint}' if hint else ''}", None)
            )


def _earlier(args: argparse.Namespace) -> Earlier | None:
    """The run to resume; what the command line leaves open is as it was there."""
    if args.resume is None:
        return None
    from labctl.engine import resume

    earlier = resume.find(args.resume, Path.cwd())
    head = earlier.head
    was = [str(name) for name in head.get("playbooks", ())]
    if [*map(os.path.realpath, args.playbooks or was)] != [*map(os.path.realpath, was)]:
        raise UsageError(f"--resume: {earlier.folder.name} was a run of {', '.join(was)}")
    args.playbooks = args.playbooks or was
    args.inventory = args.inventory or head.get("inventory") or []
    args.limit = args.limit or head.get("limit")
    args.shard = _earlier_shard(args.shard, earlier)
    if not (args.tags or args.skip_tags):
        args.tags, args.skip_tags = head.get("tags") or [], head.get("skip_tags") or []
    args.start_at_task = args.start_at_task or head.get("start_at_task")
    told = any(word.startswith(("-e", "--extra-vars")) for word in head.get("argv", ()))
    if told and not args.extra_vars:
        sys.stderr.write("[WARNING]: the run to resume was given variables with -e, and this one is not\n")
    return earlier


def _earlier_shard(asked: tuple[int, int] | None, earlier: Earlier) -> tuple[int, int] | None:
    """A part goes on as the part it was; a whole run may be gone on with in parts."""
    was = earlier.head.get("shard")
    if not was:
        return asked
    if asked not in (None, (was["index"], was["of"])):
        said = f"--resume: {earlier.folder.name} was a run of shard {was['index']}/{was['of']}"
        raise UsageError(said, hint="leave --shard out, or join the shards' runs first: labctl runs merge")
    return was["index"], was["of"]


def registry_for(playbooks: list[Path], further: Sequence[str] = ()) -> Registry:
    """The built-in task types, those of -M, and those in tasks/ beside a playbook or beside its folder."""
    from labctl.task_types import Registry

    named = [Path(name).expanduser() for given in further for name in given.split(":") if name]
    for folder in named:
        if not folder.is_dir():
            raise UsageError(f"-M: there is no folder {folder}")
    folders = [folder / "tasks" for path in playbooks for folder in (path.parent, path.parent.parent)]
    found = [folder for folder in dict.fromkeys(folders) if folder.is_dir() and any(folder.glob("*.py"))]
    return Registry([*named, *found])


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
    from labctl.engine import ahead
    from labctl.ssh import Connections

    gc.freeze()  # what is loaded by now stays
    bus = Bus()
    renderer: Any = common.console(args)
    bus.subscribe(renderer)
    if args.junit_xml:
        from labctl.console.junit import Junit

        bus.subscribe(Junit(Path(args.junit_xml).write_text))
    try:
        if work.inventory.labs and work.options.check:
            bus.emit(
                Kind.MESSAGE,
                message="a dry run reads the nodes' real state, so the lab is started if it is down",
            )
        labs = common.start_labs(work.inventory, bus)
        connections = Connections(last=True)
        ahead.connect(connections, work.books, work.inventory, work.options)
        from labctl.engine.run import run as run_all

        result = run_all(
            work.books,
            work.inventory,
            work.options,
            bus,
            registry=work.registry,
            connections=connections,
            inventory_sources=work.sources,
        )
    finally:
        renderer.close()
    if args.output not in ("json", "yaml", "junit"):
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
    """A misspelt host pattern or limit is said before any host is touched; a warning only, and none where
    the run itself may add the missing name."""
    from labctl.errors import InventoryError
    from labctl.playbook import adds_hosts

    growing = any(adds_hosts(book) for book in books)
    hosts = inventory.match("all", limit, warn=lambda *_: None)
    if limit is not None and inventory.hosts and not hosts and not growing:
        raise InventoryError(f"--limit '{limit}' leaves no host", hint="labctl inventory --graph shows them")
    for book in books:
        for play in book.plays:
            if "{{" in str(play.hosts):
                continue

            def warn(message: str, mark: Mark | None, play: Play = play) -> None:
                if not growing:
                    inventory.warnings.append((message, mark or play.mark_of("hosts")))

            try:
                inventory.match(play.hosts, limit, warn=warn)
            except InventoryError as error:
                error.mark = error.mark or play.mark_of("hosts")
                raise


def _check_start(books: list[Playbook], wanted: str | None) -> None:
    """A misspelt --start-at-task is said at once, unless a dynamic include may still bring the task."""
    from labctl.playbook import Task, walk
    from labctl.playbook.start import starts_at

    if wanted is None:
        return
    names: list[str] = []
    for play in (play for book in books for play in book.plays):
        for entry in (each for _section, entries in play.sections() for each in walk(entries)):
            if not isinstance(entry, Task):
                continue
            if entry.dynamic or starts_at(entry, wanted):
                return
            names += [entry.title, entry.label()]
    raise UsageError(f"--start-at-task: no task is called '{wanted}'", hint=did_you_mean(wanted, names))
