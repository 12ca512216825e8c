"""`labctl inventory`: the hosts, groups and variables of an inventory, as data or drawn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from labctl.cli import common, flags
from labctl.errors import InventoryError, UsageError, did_you_mean


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("inventory", help="show hosts, groups and variables", description=__doc__)
    parser.add_argument("group", nargs="?", default="all", metavar="GROUP", help="where --graph begins")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="all of it, as an inventory program prints it")
    what.add_argument("--graph", action="store_true", help="draw how groups and hosts nest")
    what.add_argument("--host", metavar="NAME", help="the variables of one host")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("-y", "--yaml", action="store_true", help="YAML instead of JSON")
    form.add_argument("--toml", action="store_true", help="TOML instead of JSON")
    parser.add_argument("--vars", action="store_true", help="draw variables too")
    parser.add_argument(
        "--export", action="store_true", help="variables where they are set, not with what hosts inherit"
    )
    parser.add_argument("--output", metavar="FILE", help="write there")
    parser.add_argument("--playbook-dir", metavar="FOLDER", help="with the group_vars and host_vars there")
    flags.add_inventory(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.inventory.export import Export, to_json, to_toml, to_yaml

    _sources, inventory = common.load_inventory(args)
    for message, mark in inventory.warnings:
        sys.stderr.write(f"[WARNING]: {f'{mark}: ' if mark else ''}{message}\n")
    folder = Path(args.playbook_dir) if args.playbook_dir else None
    shown = (
        frozenset(host.name for host in inventory.match("all", args.limit))
        if inventory.hosts
        else frozenset()
    )
    export = Export(inventory, shown, folder, args.export)
    if args.graph:
        if args.group not in inventory.groups:
            hint = did_you_mean(args.group, inventory.groups)
            raise InventoryError(f"--graph begins with a group, and none is called '{args.group}'", hint=hint)
        text = "\n".join(export.graph(args.group, variables=args.vars))
    elif args.host:
        variables = export.host_variables(_single(inventory.match(args.host), args.host))
        text = to_yaml(variables) if args.yaml else to_toml(variables) if args.toml else to_json(variables)
    elif args.yaml:
        text = to_yaml(export.tree())
    elif args.toml:
        text = to_toml(export.tables())
    else:
        text = to_json(export.listing())
    _write(text, args.output)
    return 0


def _single(hosts: list[Any], pattern: str) -> str:
    if len(hosts) != 1:
        raise UsageError(f"--host is one host, and '{pattern}' stands for {len(hosts)}")
    return str(hosts[0].name)


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(f"{text}\n")
        return
    try:
        Path(output).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror}") from None
