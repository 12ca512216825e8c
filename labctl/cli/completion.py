"""`labctl completion SHELL`: a script that completes labctl's commands, options and values.

bash: `eval "$(labctl completion bash)"` in ~/.bashrc; zsh: the same in ~/.zshrc, after compinit;
fish: `labctl completion fish > ~/.config/fish/completions/labctl.fish`.
"""

# ruff: noqa: SLF001 - argparse has no public way to list what it was told

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labctl.cli import shells
from labctl.cli.shells import Command, Option

SHELLS = {"bash": shells.bash, "zsh": shells.zsh, "fish": shells.fish}
_KINDS = {
    "PLAYBOOK": "file",
    "SOURCE": "file",
    "FILE": "file",
    "VARS": "file",
    "REPORT": "file",
    "FOLDER": "folder",
    "FOLDERS": "folder",
    "TASKTYPE": "types",
    "TASKTYPE ARGS": "types",
    "RUN": "runs",
}


def described() -> Iterator[Command]:
    """Every command, as its parser has it."""
    from labctl.cli.main import COMMANDS, build

    for name, summary in COMMANDS.items():
        yield _command(name, summary, _subparsers(build([name]))[name])


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> Command:
    command = Command(name, summary)
    inner = _subparsers(parser)
    command.words += inner
    options = list(_options(parser))
    for each in inner.values():
        options += _options(each)
    command.options = list({option.names: option for option in options}.values())
    for action in parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            command.words += [str(word) for word in action.choices or ()]
            command.kinds.append(_kind(action))
    return command


def _options(parser: argparse.ArgumentParser) -> Iterator[Option]:
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            takes = action.nargs != 0
            about = str(action.help or "").replace("%%", "%").split(" (default")[0]
            choices = tuple(str(choice) for choice in action.choices or ())
            yield Option(tuple(action.option_strings), about, takes, choices, _kind(action) if takes else "")


def _kind(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return "" if action.choices else _KINDS.get(metavar, "")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "completion",
        help="a script that completes commands in a shell",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=tuple(SHELLS), help="which shell the script is for")


def run(args: argparse.Namespace) -> int:
    sys.stdout.write(SHELLS[args.shell](list(described()), task_types()))
    return 0


def task_types() -> Sequence[str]:
    """Those of labctl and of tasks/ here."""
    from labctl.task_types import Registry

    return sorted(Registry([folder for folder in (Path("tasks"),) if folder.is_dir()]).names())
