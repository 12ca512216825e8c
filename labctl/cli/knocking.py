"""Knocking at the first play's hosts while the playbook is still being read and checked.

Loading labctl's own modules is most of a short run's start, and takes one processor; meanwhile the hosts' sshd can get
ready (labctl.ssh.knock). What the playbook's text says of its hosts is enough for that: a wrong guess costs a
connection that nobody uses."""

from __future__ import annotations

import argparse
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from labctl.errors import LabctlError
from labctl.inventory import Inventory
from labctl.ssh.knock import knock
from labctl.ssh.settings import VARIABLES, ConnectionSettings

_HOSTS = re.compile(r"""^-?[ ]*hosts:[ ]+["']?([\w.,:&!*-]+)["']?[ ]*(?:#.*)?$""", re.MULTILINE)
_ELSEWHERE = re.compile(r"\b(connection|port|vars_prompt):")
_MOST = 50


def begin(args: argparse.Namespace, playbook: Path, inventory: Inventory) -> None:
    """Do so, where what is known by now tells which hosts and where. Whatever is wrong is said by whoever needs it."""
    plain = not (args.ssh_common_args or args.ssh_extra_args or args.connection or args.shard or args.resume)
    if not plain or inventory.labs or any("ansible_" in text for text in args.extra_vars or ()):
        return
    try:
        text = playbook.read_text(encoding="utf-8")
        found = _HOSTS.search(text)
        if found and not _ELSEWHERE.search(text):
            for address, port in _places(found[1], args.limit, playbook.parent, inventory):
                knock(address, port)
    except (LabctlError, OSError, UnicodeError):
        return


def _places(pattern: str, limit: str | None, folder: Path, inventory: Inventory) -> Iterator[tuple[str, int]]:
    hosts = inventory.match(pattern, limit, warn=lambda *_: None)
    for host in hosts if len(hosts) <= _MOST else ():
        seen = inventory.seen(host.name, folder)
        given = {name: seen[name] for name in VARIABLES & seen.keys()}
        if any("{" in str(value) for value in given.values()):
            continue
        settings = ConnectionSettings.from_variables(host.name, given)
        near = settings.connection == "ssh" and not (settings.jumps or settings.proxy_command)
        if near and not settings.key_alias and _is_address(settings.address):
            yield settings.address, settings.port


def _is_address(text: str) -> bool:
    """Whether it is an IP address: a name would have to be looked up, which may take its time."""
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return False
    return True
