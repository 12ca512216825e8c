"""What a command line says of connections, as the variables that would say it in an inventory."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any, NoReturn

from labctl import configuration, vault
from labctl.cli import passwords
from labctl.errors import UsageError


def add(group: Any) -> None:
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


def variables(args: argparse.Namespace) -> dict[str, Any]:
    """Those that are given here or in ansible.cfg, by Ansible's names."""
    said = configuration.current()
    port = said.number("remote_port")
    found = {
        "ansible_connection": args.connection,
        "ansible_port": None if port is None else int(port),
        "ansible_host_key_checking": said.boolean("host_key_checking"),
        "ansible_password": _password(args),
        "ansible_ssh_args": said.text("ssh_args"),
        "ansible_ssh_common_args": args.ssh_common_args or said.text("ssh_common_args"),
        "ansible_ssh_extra_args": args.ssh_extra_args or said.text("ssh_extra_args"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _password(args: argparse.Namespace) -> str | None:
    if args.ask_pass:
        if not sys.stdin.isatty():
            raise UsageError(
                "-k asks for a password, and this is no terminal", hint="ansible_password can hold it"
            )
        secret = getpass.getpass("SSH password: ")
    elif args.connection_password_file:
        secret = passwords.read_file(args, args.connection_password_file, "connection password")
    else:
        return None
    vault.current().masks.add(secret)
    return secret
