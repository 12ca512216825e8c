"""`labctl facts [PATTERN]`: what is known of the nodes."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from labctl.cli import flags
from labctl.console.text import block
from labctl.events import Event, Kind

_OF_THE_GATHERING = ("gather_subset", "module_setup")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("facts", help="show what is known of the nodes", description=__doc__)
    parser.add_argument(
        "pattern", nargs="?", default="all", metavar="PATTERN", help="hosts or groups (default all)"
    )
    parser.add_argument(
        "--filter", action="append", default=[], metavar="GLOB", help="only facts of these names"
    )
    parser.add_argument(
        "--subset", action="append", default=[], metavar="NAME", help="gather only these subsets"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object: host to facts")
    flags.add_inventory(parser)
    flags.add_execution(parser)
    flags.add_connection(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.cli import adhoc

    found = _Found()
    arguments = {"gather_subset": args.subset, "filter": args.filter}
    code = adhoc.execute(
        args, "setup", {name: value for name, value in arguments.items() if value} or None, found
    )
    if args.json or args.output == "json":
        sys.stdout.write(json.dumps(found.facts, indent=2, default=str) + "\n")
    else:
        for host, facts in sorted(found.facts.items()):
            sys.stdout.write("\n".join([f"{host}:", *block(facts, 4)]) + "\n")
    return code


class _Found:
    """Collects the facts; what goes wrong is said at once."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def __call__(self, event: Event) -> None:
        if event.kind is Kind.RESULT:
            result = event.data.get("result") or {}
            if "ansible_facts" in result:
                known = {
                    name.removeprefix("ansible_"): value for name, value in result["ansible_facts"].items()
                }
                known = {name: value for name, value in known.items() if name not in _OF_THE_GATHERING}
                self.facts[event.host or ""] = dict(sorted(known.items()))
            else:
                sys.stderr.write(f"{event.host}: {event.data['status']}: {result.get('msg', '')}\n")
        elif event.kind in (Kind.PROGRESS, Kind.WARNING):
            sys.stderr.write(f"{event.data.get('message', '')}\n")
