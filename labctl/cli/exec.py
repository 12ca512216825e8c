"""`labctl exec PATTERN TASKTYPE [ARGS]`: one task on the nodes. Ansible's -m and -a name them as well."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.cli import common, flags
from labctl.console.text import Paint, clean, diff_lines, duration, result_lines
from labctl.errors import EnvironmentProblem, UsageError
from labctl.events import Event, Kind


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("exec", help="run one task on the nodes", description=__doc__)
    parser.intermixed = True
    parser.add_argument("pattern", metavar="PATTERN", help="hosts or groups, as in a play")
    parser.add_argument(
        "words",
        nargs="*",
        default=[],
        metavar="TASKTYPE ARGS",
        help="a task type (see labctl doc --list), then k=v …, or the text of a command (in quotes when it"
        " holds options)",
    )
    parser.add_argument("-m", "--module-name", metavar="TASKTYPE", help="the task type (default command)")
    parser.add_argument("-a", "--args", metavar="ARGS", help="its arguments: 'k=v …', JSON, or a command")
    parser.add_argument(
        "-B",
        "--background",
        type=flags.count,
        metavar="SECONDS",
        help="let it go on by itself, so long at most",
    )
    parser.add_argument(
        "-P",
        "--poll",
        type=flags.whole,
        metavar="SECONDS",
        help="with -B: look after it every so often; 0: do not wait",
    )
    parser.add_argument("-o", "--one-line", action="store_true", help="a line for each host")
    parser.add_argument("-t", "--tree", metavar="FOLDER", help="write each host's result to a file there")
    parser.add_argument(
        "--task-timeout", type=flags.seconds, metavar="SECONDS", help="end the task after so long"
    )
    parser.add_argument(
        "--playbook-dir", metavar="FOLDER", help="take group_vars/, tasks/ and files/ from beside here"
    )
    parser.add_argument("--list-hosts", action="store_true", help="list the hosts, and do nothing")
    flags.add_inventory(parser)
    flags.add_execution(parser)
    flags.add_connection(parser)


def run(args: argparse.Namespace) -> int:
    from labctl.cli import adhoc

    if args.list_hosts:
        _sources, inventory = common.load_inventory(args)
        hosts = [host.name for host in inventory.match(args.pattern, args.limit)]
        sys.stdout.write(f"  hosts ({len(hosts)}):\n" + "".join(f"    {name}\n" for name in hosts))
        return 0
    if args.poll is not None and args.background is None:
        raise UsageError("-P needs -B: how long the task may go on")
    action, arguments = _asked(args)
    subscriber: Any
    if args.output in ("json", "yaml", "junit"):
        subscriber = common.console(args)
    else:
        colour = sys.stdout.isatty() and not common.no_colour()
        line = args.one_line or args.output == "dense"
        subscriber = _Answers(
            Paint(on=colour), everything=args.verbose > 0, one_line=line, tree=_tree(args.tree)
        )
    code = adhoc.execute(args, action, arguments, subscriber)
    if args.output == "junit":
        subscriber.close()
    return code


def _asked(args: argparse.Namespace) -> tuple[str, str | dict[str, Any] | None]:
    """The task type and its arguments, however they were given."""
    words = list(args.words)
    if args.module_name is None and args.args is None:
        if not words:
            raise UsageError("which task type?", hint="labctl exec all ping, or -m ping")
        return words[0], " ".join(words[1:]) or None
    if words and args.args is not None:
        raise UsageError(f"both -a and '{' '.join(words)}' give the arguments")
    action = args.module_name or "command"
    text = args.args if args.args is not None else " ".join(words)
    if text.lstrip().startswith("{") and not text.lstrip().startswith("{{"):
        from labctl import yaml

        given = yaml.load(text, "-a")
        if isinstance(given, dict):
            return action, dict(given)
    return action, text or None


def _tree(folder: str | None) -> Path | None:
    if folder is None:
        return None
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(f"--tree: {path} cannot be made: {error.strerror}") from None
    return path


class _Answers:
    """Prints each host's answer as it comes."""

    def __init__(
        self, paint: Paint, *, everything: bool, one_line: bool = False, tree: Path | None = None
    ) -> None:
        self._paint = paint
        self._everything = everything
        self._one_line = one_line
        self._tree = tree

    def __call__(self, event: Event) -> None:
        if event.kind is Kind.RESULT:
            self._keep(event)
            self._result(event)
        elif event.kind in (Kind.PROGRESS, Kind.WARNING, Kind.MESSAGE):
            sys.stderr.write(f"{event.data.get('message', '')}\n")

    def _keep(self, event: Event) -> None:
        if self._tree is not None:
            from labctl.engine.journal import write_json

            write_json(self._tree / str(event.host).replace("/", "_"), event.data.get("result") or {})

    def _result(self, event: Event) -> None:
        result: Mapping[str, Any] = event.data.get("result") or {}
        status = str(event.data["status"])
        rc = f" | rc={result['rc']}" if "rc" in result else ""
        head = f"{event.host} | {status}{rc} | {duration(event.data.get('seconds') or 0)}"
        if self._one_line:
            said = " | ".join(_one_line(result))
            lines = [self._paint(status, f"{head} | {said}" if said else head)]
        else:
            lines = [self._paint(status, head), *self._body(event, result, status)]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    def _body(self, event: Event, result: Mapping[str, Any], status: str) -> list[str]:
        lines: list[str] = []
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
        return lines


def _one_line(result: Mapping[str, Any]) -> list[str]:
    """A result's message and output, their newlines shown as \\n."""
    named = [
        ("", result.get("msg")),
        ("(stdout) ", result.get("stdout")),
        ("(stderr) ", result.get("stderr")),
    ]
    return [f"{name}{clean(str(text)).replace(chr(10), chr(92) + 'n')}" for name, text in named if text]
