"""How a host is reached, and as whom."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from labctl.errors import UsageError, did_you_mean

Checking = Literal["strict", "accept-new", "off"]
_CHECKING: dict[str, Checking] = {
    "strict": "strict",
    "yes": "strict",
    "true": "strict",
    "ask": "strict",
    "accept-new": "accept-new",
    "off": "off",
    "no": "off",
    "false": "off",
}


@dataclass(frozen=True)
class Become:
    """Another user on the same host. `password` is that of the connecting user for sudo, of `user` for su.
    `program` is the sudo or su to call (None: by its name), `flags` words for it besides labctl's own."""

    user: str = "root"
    method: Literal["sudo", "su"] = "sudo"
    password: str | None = field(default=None, repr=False)
    program: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConnectionSettings:
    """`host` is the inventory name, `address` what is connected to. `connect_timeout` in seconds bounds
    everything from the first packet to a running agent. `known_hosts` None: ~/.ssh/known_hosts;
    `python` None: the first suitable one found."""

    host: str
    address: str
    port: int = 22
    user: str = "root"
    connection: Literal["ssh", "local"] = "ssh"
    key_files: tuple[str, ...] = ()
    password: str | None = field(default=None, repr=False)
    known_hosts: str | None = None
    host_key_checking: Checking = "strict"
    connect_timeout: float = 10
    python: str | None = None

    @classmethod
    def from_variables(cls, host: str, variables: Mapping[str, Any]) -> ConnectionSettings:
        """From a host's variables, by Ansible's names. Raises UsageError for a value that makes no sense."""

        def get(*names: str) -> Any:
            return next((variables[name] for name in names if variables.get(name) not in (None, "")), None)

        connection = str(get("ansible_connection") or ("local" if host == "localhost" else "ssh"))
        if connection in ("paramiko", "paramiko_ssh", "smart"):
            connection = "ssh"
        if connection not in ("ssh", "local"):
            raise UsageError(
                f"{host}: ansible_connection is '{connection}'; labctl has 'ssh' and 'local'",
                hint=did_you_mean(connection, ("ssh", "local")),
            )
        options = _ssh_options(str(get("ansible_ssh_common_args") or ""))
        keys = get("ansible_ssh_private_key_file", "ansible_private_key_file")
        known_hosts = get("labctl_known_hosts") or options.get("userknownhostsfile")
        return cls(
            host=host,
            address=str(get("ansible_host", "ansible_ssh_host") or host),
            port=_port(host, get("ansible_port", "ansible_ssh_port")),
            user=str(get("ansible_user", "ansible_ssh_user") or getpass.getuser()),
            connection="local" if connection == "local" else "ssh",
            key_files=tuple(map(str, [keys] if isinstance(keys, str) else keys or ())),
            password=_text(get("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")),
            known_hosts=_text(known_hosts),
            host_key_checking=_checking(
                host,
                get("ansible_host_key_checking", "ansible_ssh_host_key_checking")
                if get("ansible_host_key_checking", "ansible_ssh_host_key_checking") is not None
                else options.get("stricthostkeychecking"),
            ),
            connect_timeout=_seconds(host, get("ansible_ssh_timeout", "ansible_timeout")),
            python=_python(get("ansible_python_interpreter")),
        )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _port(host: str, value: Any) -> int:
    try:
        port = 22 if value is None else int(value)
    except (TypeError, ValueError):
        port = 0
    if not 0 < port < 65536:
        raise UsageError(f"{host}: ansible_port is {value!r}; a port is a number from 1 to 65535")
    return port


def _seconds(host: str, value: Any) -> float:
    try:
        seconds = 10.0 if value is None else float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if seconds <= 0:
        raise UsageError(f"{host}: ansible_timeout is {value!r}; it is a number of seconds above 0")
    return seconds


def _checking(host: str, value: Any) -> Checking:
    if value is None:
        return "strict"
    checking = _CHECKING.get(str(value).lower())
    if checking is None:
        raise UsageError(
            f"{host}: ansible_host_key_checking is {value!r}; it is one of strict, accept-new, off",
            hint=did_you_mean(str(value), _CHECKING),
        )
    return checking


def _python(value: Any) -> str | None:
    # the auto* values are Ansible's names for looking for one, which is what None does here
    return None if value is None or str(value).startswith("auto") else str(value)


def _ssh_options(text: str) -> dict[str, str]:
    """The `-o Name=value` options of an OpenSSH command line, names in lower case."""
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    found = {}
    for index, word in enumerate(words):
        option = words[index + 1] if word == "-o" and index + 1 < len(words) else word.removeprefix("-o")
        name, separator, value = option.partition("=")
        if word.startswith("-o") and separator:
            found[name.strip().lower()] = value.strip()
    return found
