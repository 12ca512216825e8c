"""The flags that several subcommands take. Nothing heavy is imported here: `--help` needs this module."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, NoReturn

from labctl.errors import UsageError

OUTPUTS = ("live", "plain", "dense", "json", "yaml", "junit")


def add_inventory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-i",
        "--inventory",
        "--inventory-file",
        action="append",
        default=[],
        metavar="SOURCE",
        help="inventory file or folder, or 'host,' (default: $LABCTL_INVENTORY, else inventories/lab)",
    )
    parser.add_argument("-l", "--limit", metavar="PATTERN", help="only these of the hosts; @FILE lists them")
    add_vault(parser)


def add_vault(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vault")
    group.add_argument(
        "--vault-id",
        dest="vault_ids",
        action="append",
        default=[],
        metavar="LABEL@SOURCE",
        help="a vault password and its id; SOURCE is a file, a program, or 'prompt'",
    )
    group.add_argument(
        "--vault-password-file",
        "--vault-pass-file",
        dest="vault_password_files",
        action="append",
        default=[],
        metavar="FILE",
        help="file or program with a vault password (also: $ANSIBLE_VAULT_PASSWORD_FILE)",
    )
    group.add_argument(
        "-J",
        "--ask-vault-password",
        "--ask-vault-pass",
        dest="ask_vault_pass",
        action="store_true",
        help="ask for the vault password",
    )


def add_connection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("connection")
    group.add_argument("-u", "--user", help="user to connect as, where the inventory names none")
    group.add_argument(
        "--private-key", "--key-file", metavar="FILE", help="SSH key, where the inventory names none"
    )
    group.add_argument("-T", "--timeout", type=seconds, metavar="SECONDS", help="to connect (default 10)")
    group.add_argument("-b", "--become", action="store_true", help="work as another user")
    group.add_argument("--become-user", metavar="USER", help="which (default root)")
    group.add_argument("--become-method", choices=("sudo", "su"), help="how (default sudo)")
    group.add_argument(
        "-K", "--ask-become-pass", action="store_true", help="ask for the password become needs"
    )
    _add_become_file(group)
    _add_transport(group)


def _add_become_file(group: Any) -> None:
    group.add_argument(
        "--become-password-file",
        "--become-pass-file",
        metavar="FILE",
        help="file or program with the password become needs",
    )


def _add_transport(group: Any) -> None:
    group.add_argument("-c", "--connection", metavar="KIND", help="ssh or local, where nothing else says it")
    asked = group.add_mutually_exclusive_group()
    asked.add_argument("-k", "--ask-pass", action="store_true", help="ask for the password of the connection")
    asked.add_argument(
        "--connection-password-file",
        "--conn-pass-file",
        metavar="FILE",
        help="file or program with the password of the connection",
    )
    group.add_argument(
        "--ssh-common-args", metavar="ARGS", help="ssh's own options, as '-J gate' or '-o Name=value'"
    )
    group.add_argument("--ssh-extra-args", metavar="ARGS", help="further ones")
    for name in ("--sftp-extra-args", "--scp-extra-args"):
        group.add_argument(name, action=_Refused, metavar="ARGS", help=argparse.SUPPRESS)


class _Refused(argparse.Action):
    def __call__(self, *_args: Any, **_more: Any) -> NoReturn:
        raise UsageError(
            f"{self.option_strings[0]}: labctl calls neither sftp nor scp, files go over the SSH connection",
            hint="--ssh-common-args is for all of it",
        )


def add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-e", "--extra-vars", action="append", default=[], metavar="VARS", help="k=v, JSON, YAML or @file"
    )
    parser.add_argument("-f", "--forks", type=count, metavar="N", help="hosts at once (default 10)")
    parser.add_argument(
        "-C",
        "--check",
        "--dry-run",
        dest="check",
        action="store_true",
        help="say what would change and what cannot be known; change nothing",
    )
    parser.add_argument("-D", "--diff", action="store_true", help="show what changes in files")
    parser.add_argument(
        "-M",
        "--module-path",
        action="append",
        default=[],
        metavar="FOLDERS",
        help="further folders of task types, with ':' between them",
    )
    parser.add_argument(
        "--flush-cache",
        action="store_true",
        help="gather facts anew (always so: labctl keeps them for one run)",
    )
    add_output(parser)


def add_output(parser: argparse.ArgumentParser, choices: Sequence[str] = OUTPUTS) -> None:
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="more: results (-v), where tasks stand and what they notify (-vv); up to -vvvv as debug asks",
    )
    parser.add_argument(
        "--output",
        choices=choices,
        metavar="FORM",
        help=f"{', '.join(choices)} (default: live on a terminal, else plain)",
    )


def add_shard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="only the I-th of N parts of the hosts; auto/N takes I from $JOB_COMPLETION_INDEX (see 'runs merge')",
    )


def shard(text: str) -> tuple[int, int]:
    """'2/4' as (2, 4), for argparse; 'auto/4' counts from Kubernetes' index, which begins with 0."""
    index, _, of = text.partition("/")
    if not of.isdigit() or int(of) < 1 or not (index == "auto" or index.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is not a part of a whole as 2/4, nor auto/4")
    if index == "auto":
        given = os.environ.get("JOB_COMPLETION_INDEX", "")
        if not given.isdigit():
            said = f"is '{given}'" if given else "is not set"
            raise argparse.ArgumentTypeError(
                f"'{text}' needs JOB_COMPLETION_INDEX, which {said}; an Indexed Job of Kubernetes sets it"
            )
        if int(given) >= int(of):
            raise argparse.ArgumentTypeError(
                f"JOB_COMPLETION_INDEX is {given}, and '{text}' has no more than {of} parts:"
                " the Job's completions must be as many"
            )
        index = str(int(given) + 1)
    if not 1 <= int(index) <= int(of):
        raise argparse.ArgumentTypeError(f"there is no part {text}: the first is 1/{of}, the last {of}/{of}")
    return int(index), int(of)


def seconds(text: str) -> float:
    """A number of seconds above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return value


def count(text: str) -> int:
    """A number from 1 up, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 up")
    return int(text)


def whole(text: str) -> int:
    """A number from 0 up, for argparse."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 up")
    return int(text)
