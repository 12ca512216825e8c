"""`labctl lab`: the embedded lab of an inventory."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

from labctl.errors import EnvironmentProblem, InventoryError, UsageError
from labctl.paths import own_or_builtin

if TYPE_CHECKING:
    from labctl.inventory import LabSpec
    from labctl.lab import Lab


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("lab", help="the embedded lab: up, status, ssh, down")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summaries = {
        "up": "start its nodes (what is up stays up)",
        "status": "show its nodes",
        "ssh": "open a shell, or run a command, on a node",
        "down": "remove it without a trace",
    }
    for name, summary in summaries.items():
        action = actions.add_parser(name, help=summary)
        action.add_argument(
            "-i", "--inventory", metavar="PATH", help="the lab's inventory (default: inventories/lab)"
        )
        if name == "ssh":
            action.add_argument("node", metavar="NODE")
            action.add_argument("remote", nargs=argparse.REMAINDER, metavar="COMMAND")
        if name == "down":
            action.add_argument(
                "--all", action="store_true", help="every lab this machine's state folder knows of"
            )


def run(args: argparse.Namespace) -> int:
    from labctl.lab import Lab

    if args.action == "down" and args.all:
        return _down_all()
    lab = Lab(_spec(args.inventory))
    return {"up": _up, "status": _status, "ssh": _ssh, "down": _down}[args.action](lab, args)


def _spec(inventory: str | None) -> LabSpec:
    from labctl.inventory import load

    source = own_or_builtin(inventory or "inventories/lab")
    labs = load([source]).labs
    if not labs:
        raise InventoryError(f"the inventory {source} describes no lab", hint="a lab says 'plugin: lab'")
    if len(labs) > 1:
        names = ", ".join(str(spec.path) for spec in labs)
        raise UsageError(f"the inventory {source} describes several labs", hint=f"name one: {names}")
    return labs[0]


def _up(lab: Lab, _args: argparse.Namespace) -> int:
    began = time.monotonic()
    with _Progress() as progress:
        lab.up(progress)
    names = ", ".join(f"{node.name} {node.address}" for node in lab.status())
    sys.stdout.write(f"up in {time.monotonic() - began:.1f} s: {names}\n")
    return 0


def _down(lab: Lab, _args: argparse.Namespace) -> int:
    began = time.monotonic()
    with _Progress() as progress:
        lab.down(progress)
    sys.stdout.write(f"down in {time.monotonic() - began:.1f} s\n")
    return 0


def _down_all() -> int:
    from labctl.lab import Lab
    from labctl.lab.lab import existing

    for _folder, known in list(existing()):
        nodes: dict[str, dict[str, Any]] = {name: {} for name in known.nodes}
        spec = SimpleNamespace(path=Path(known.path), name=known.name, nodes=nodes, mark=None)
        Lab(spec, instance=known.instance).down()
        sys.stdout.write(f"removed {known.name}{f' ({known.instance})' if known.instance else ''}\n")
    return 0


def _status(lab: Lab, _args: argparse.Namespace) -> int:
    nodes = lab.status()
    for node in nodes:
        ssh = "ssh answers" if node.ssh else "ssh does not answer"
        sys.stdout.write(f"{node.name:<16} {node.state:<8} {node.address or '-':<15} {ssh}\n")
    return 0 if all(node.ssh for node in nodes) else EnvironmentProblem.exit_code


def _ssh(lab: Lab, args: argparse.Namespace) -> int:
    variables = lab.connection(args.node)
    options = {
        "UserKnownHostsFile": variables["labctl_known_hosts"],
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
    }
    command = ["ssh", "-F", "none", "-i", variables["ansible_ssh_private_key_file"]]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    target = f"{variables['ansible_user']}@{variables['ansible_host']}"
    remote = args.remote[1:] if args.remote[:1] == ["--"] else args.remote
    sys.stdout.flush()
    try:
        os.execvp("ssh", [*command, target, *remote])  # noqa: S606 - ssh takes over this terminal
    except FileNotFoundError:
        raise EnvironmentProblem("there is no ssh program here", hint="apt install openssh-client") from None


class _Progress:
    """Progress on stderr. On a terminal, steps with a fraction share one line that is rewritten; elsewhere
    each new message is a line."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = ""
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __call__(self, message: str, fraction: float | None) -> None:
        if self._terminal:
            end = "\n" if fraction is None else f" {fraction:4.0%}"
            sys.stderr.write(f"\r\x1b[K{message}{end}")
            self._open = fraction is not None
        elif message != self._last:
            sys.stderr.write(f"{message}\n")
        self._last = message
        sys.stderr.flush()

    def __exit__(self, *exc: object) -> None:
        if self._open:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


if __name__ == "__main__":
    from labctl.cli.main import main

    sys.exit(main(["lab", *sys.argv[1:]]))
