"""`labctl exec PATTERN TASKTYPE [ARGS]`: one task on the nodes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from labctl.cli import common
from labctl.console.text import Paint, clean, diff_lines, duration, result_lines
from labctl.events import Event, Kind


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("exec", help="run one task on the nodes", description=__doc__)
    parser.add_argument("pattern", metavar="PATTERN", help="hosts or groups, as in a play")
    parser.add_argument("action", metavar="TASKTYPE", help="a task type (see labctl doc --list)")
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="ARGS",
        help="k=v …, or the text of a command (in quotes when it holds options)",
    )
    common.add_inventory(parser)
    common.add_execution(parser)
    common.add_connection(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.cli import adhoc

    subscriber: Any
    if args.output == "json":
        subscriber = common.console(args)
    else:
        colour = sys.stdout.isatty() and not common.no_colour()
        subscriber = _Answers(Paint(on=colour), everything=args.verbose > 0)
    return adhoc.execute(args, args.action, " ".join(args.arguments) or None, subscriber)


class _Answers:
    """Prints each host's answer as it comes."""

    def __init__(self, paint: Paint, *, everything: bool) -> None:
        self._paint = paint
        self._everything = everything

    def __call__(self, event: Event) -> None:
        if event.kind is Kind.RESULT:
            self._result(event)
        elif event.kind in (Kind.PROGRESS, Kind.WARNING, Kind.MESSAGE):
            sys.stderr.write(f"{event.data.get('message', '')}\n")

    def _result(self, event: Event) -> None:
        result: Mapping[str, Any] = event.data.get("result") or {}
        status = str(event.data["status"])
        rc = f" | rc={result['rc']}" if "rc" in result else ""
        head = f"{event.host} | {status}{rc} | {duration(event.data.get('seconds') or 0)}"
        lines = [self._paint(status, head)]
        if unknown := event.data.get("unknown"):
            lines.append(f"    {unknown}")
        elif self._everything or "stdout" not in result:
            lines += result_lines(result, everything=self._everything or status in ("ok", "changed"))
        else:
            if status in ("failed", "unreachable"):
                lines.append(f"    {clean(str(result.get('msg', '')))}")
            lines += [clean(str(result[name])) for name in ("stdout", "stderr") if result.get(name)]
        for change in event.data.get("diff") or ():
            lines += [self._paint(style, line) for style, line in diff_lines(change)]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
