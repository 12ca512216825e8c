"""What the subcommands that touch nodes share: run options, inventories, labs, consoles."""

from __future__ import annotations

import argparse
import os
import re
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import configuration
from labctl.events import Bus, Kind, Subscriber
from labctl.paths import own_or_builtin

if TYPE_CHECKING:
    from labctl.engine.options import RunOptions
    from labctl.inventory import Inventory

_SECRET = re.compile(
    r"""(\b\w*(?:pass|secret|token|credential)\w*["']?\s*(?:=|(:))\s*)"""
    r"""(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|(?(2)[^,}\n]|\S))(?(2)[^,}\n]*|\S*)""",  # YAML's texts have blanks
    re.IGNORECASE,
)
_FILES, _FILES_PER_HOST = 200, 6  # pipes of an agent, a socket
_DEFAULT_INVENTORY = Path("inventories/lab")
_ANSIBLE_INVENTORY = Path("/etc/ansible/hosts")


def inventory_sources(args: argparse.Namespace) -> list[str]:
    """-i, else $LABCTL_INVENTORY, else what Ansible's settings name, else inventories/lab of this folder, else
    /etc/ansible/hosts, else none: localhost is always there."""
    if args.inventory:
        return [own_or_builtin(source) for source in args.inventory]
    if chosen := os.environ.get("LABCTL_INVENTORY"):
        return [chosen]
    configured = configuration.current()
    text = configured.text("inventory") or ""
    if text.endswith(","):
        return [text]
    if paths := configured.paths("inventory", ","):
        return [str(path) for path in paths]
    return [str(path) for path in (_DEFAULT_INVENTORY, _ANSIBLE_INVENTORY) if path.exists()][:1]


def load_inventory(args: argparse.Namespace) -> tuple[list[str], Inventory]:
    from labctl import yaml
    from labctl.cli import passwords
    from labctl.inventory import load

    passwords.unlock(args)
    yaml.tell_of_doubled_keys(lambda said, mark: _warn(f"{mark}: {said}"))
    sources = inventory_sources(args)
    if not sources:
        _warn(
            f"no inventory: -i names none, and there is no {_DEFAULT_INVENTORY} here; only localhost is known"
        )
    inventory = load(sources, _evaluate)
    _allow_files(len(inventory.hosts))
    return sources, inventory


def _allow_files(hosts: int) -> None:
    """Connections to many hosts are more files than a process may usually open (1,024): raise that, as far as it
    goes."""
    wanted = _FILES + _FILES_PER_HOST * hosts
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        _warn(f"{hosts} hosts may take {wanted} open files, and this machine allows {hard} (ulimit -Hn)")


def _warn(message: str) -> None:
    sys.stderr.write(f"[WARNING]: {message}\n")


def _evaluate(expression: str, variables: Mapping[str, Any]) -> Any:
    """The value of a constructed inventory's expression."""
    from labctl.variables import Scope, Templar

    return Scope(Templar(), [variables]).evaluate(expression)


def console(args: argparse.Namespace) -> Subscriber:
    """The renderer the user wants: live on a terminal, else plain; NO_COLOR is respected."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    wanted = args.output or ("live" if terminal else "plain")
    if wanted in ("json", "yaml", "junit"):
        return _document(wanted)
    colour = terminal and not no_colour()
    if wanted == "live" and terminal and not getattr(args, "step", False):
        from labctl.console.live import LiveConsole

        return LiveConsole(verbosity=args.verbose, colour=colour)
    import shutil

    from labctl.console.out import Out

    width = shutil.get_terminal_size((80, 24)).columns
    if wanted == "dense":
        from labctl.console.dense import DenseConsole

        return DenseConsole(Out(sys.stdout), verbosity=args.verbose, colour=colour, width=width)
    from labctl.console.plain import PlainConsole

    return PlainConsole(Out(sys.stdout), verbosity=args.verbose, colour=colour, width=width)


def _document(form: str) -> Subscriber:
    """What other programs read on stdout."""
    if form == "json":
        from labctl.console.jsonl import JsonLines

        return JsonLines(sys.stdout)
    if form == "yaml":
        from labctl.console.yamldoc import YamlDocument

        return YamlDocument(sys.stdout)
    from labctl.console.junit import Junit

    return Junit(sys.stdout.write)


def no_colour() -> bool:
    return bool(os.environ.get("NO_COLOR"))


def start_labs(inventory: Inventory, bus: Bus) -> list[str]:
    """Bring up the labs of an inventory and tell its hosts where they are; the labs' inventory files."""
    if not inventory.labs:
        return []
    from labctl.lab import Lab

    started = []
    for spec in inventory.labs:
        lab = Lab(spec)

        def progress(message: str, fraction: float | None = None, name: str = spec.name) -> None:
            bus.emit(Kind.PROGRESS, message=f"{name}: {message}", fraction=fraction)

        lab.up(progress)
        for node in spec.nodes:
            inventory.tell(node, lab.connection(node))
        started.append(str(spec.path))
    return started


def options(args: argparse.Namespace, argv: Sequence[str]) -> RunOptions:
    from labctl.cli import connection, passwords
    from labctl.engine.options import RunOptions
    from labctl.variables import parse_extra_vars

    passwords.unlock(args)
    extra_vars = parse_extra_vars(args.extra_vars)
    said = configuration.current()
    passwords.learn(extra_vars)
    return RunOptions(
        forks=args.forks or said.number("forks") or 10,
        limit=args.limit,
        tags=split_tags(getattr(args, "tags", []) or [said.text("run_tags") or ""]),
        skip_tags=split_tags(getattr(args, "skip_tags", []) or [said.text("skip_tags") or ""]),
        check=args.check,
        diff=args.diff or bool(said.boolean("diff")),
        verbosity=args.verbose,
        user=args.user or said.text("remote_user"),
        private_key=args.private_key or next(map(str, said.paths("private_key_file")), None),
        connect_timeout=args.timeout or said.number("timeout"),
        connection=connection.variables(args),
        become=args.become or bool(said.boolean("become")),
        become_user=args.become_user or said.text("become_user"),
        become_method=args.become_method or said.text("become_method"),
        become_password=passwords.become_password(args),
        extra_vars=extra_vars,
        start_at_task=getattr(args, "start_at_task", None),
        force_handlers=getattr(args, "force_handlers", False),
        step=getattr(args, "step", False),
        root=Path.cwd(),
        argv=tuple(passwords.hide(_SECRET.sub(r"\1********", word)) for word in argv),
        ask=_ask if sys.stdin.isatty() else None,
    )


def split_tags(given: Sequence[str]) -> frozenset[str]:
    return frozenset(tag.strip() for item in given for tag in item.split(",") if tag.strip())


def _ask(text: str, private: bool, check: Callable[[], object]) -> str:
    from labctl import terminal

    return terminal.answer(f"{text}: ", hidden=private, check=check)
