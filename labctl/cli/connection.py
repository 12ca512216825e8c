"""What a command line says of connections, as the variables that would say it in an inventory."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from labctl import configuration, terminal, vault
from labctl.cli import passwords
from labctl.errors import UsageError


def variables(args: argparse.Namespace) -> dict[str, Any]:
    """Those that are given here or in ansible.cfg, by Ansible's names."""
    if args.connection is not None:
        from labctl.ssh.settings import kind

        kind(args.connection, "-c is")
    said = configuration.current()
    port = said.number("remote_port")
    found = {
        "ansible_connection": args.connection,
        "ansible_port": None if port is None else int(port),
        "ansible_host_key_checking": said.boolean("host_key_checking"),
        "ansible_password": _password(args),
        "ansible_python_interpreter": said.text("interpreter_python"),
        "ansible_ssh_args": said.text("ssh_args"),
        "ansible_ssh_common_args": args.ssh_common_args or said.text("ssh_common_args"),
        "ansible_ssh_extra_args": args.ssh_extra_args or said.text("ssh_extra_args"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _password(args: argparse.Namespace) -> str | None:
    said = configuration.current()
    usual = said.paths("connection_password_file", "\0")
    path = args.connection_password_file or (str(usual[0]) if usual else None)
    if args.ask_pass or (said.boolean("ask_pass") and not path):
        if not sys.stdin.isatty():
            raise UsageError(
                "-k asks for a password, and this is no terminal", hint="ansible_password can hold it"
            )
        secret = terminal.answer("SSH password: ", hidden=True)
    elif path:
        secret = passwords.read_file(args, path, "connection password")
    else:
        return None
    vault.current().masks.add(secret)
    return secret
