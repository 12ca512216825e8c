"""How a host is reached, and as whom."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from labctl.errors import UsageError, did_you_mean
from labctl.records import dataclass, field
from labctl.ssh.options import configured, parse

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

# Every variable that `ConnectionSettings.from_variables` asks for.
VARIABLES = frozenset(
    {
        *("ansible_connection", "ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port"),
        *("ansible_user", "ansible_ssh_user", "ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        *("ansible_ssh_private_key_file", "ansible_private_key_file", "labctl_known_hosts"),
        *("ansible_host_key_checking", "ansible_ssh_host_key_checking"),
        *("ansible_ssh_timeout", "ansible_timeout", "ansible_python_interpreter"),
        *("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"),
    }
)


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
    `python` None: the first suitable one found. `jumps` are the hosts to go through, `user@host:port` each;
    `proxy_command` is a program that reaches the host instead. `key_alias`: the name its host key is kept
    under. `keys_only`: no keys of the agent. `keepalive` in seconds, 0: labctl's own.
    `folder`: where commands start that run on this machine; elsewhere it is the user's home."""

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
    jumps: tuple[str, ...] = ()
    proxy_command: str | None = None
    config_file: str | None = None
    key_alias: str | None = None
    keys_only: bool = False
    forward_agent: bool = False
    compression: bool = False
    keepalive: int = 0
    folder: str | None = None

    def __hash__(self) -> int:
        """Of what differs between hosts: it is asked for with each command."""
        return hash((self.host, self.address, self.port, self.user))

    @classmethod
    def from_variables(cls, host: str, variables: Mapping[str, Any]) -> ConnectionSettings:
        """From a host's variables, by Ansible's names. Raises UsageError for a value that makes no sense."""

        def get(*names: str) -> Any:
            return next((variables[name] for name in names if variables.get(name) not in (None, "")), None)

        connection = _connection(host, get("ansible_connection"))
        options = _options(get, str(get("ansible_host", "ansible_ssh_host") or host), connection)
        keys = get("ansible_ssh_private_key_file", "ansible_private_key_file") or options.get("identityfile")
        known_hosts = get("labctl_known_hosts") or _first(options.get("userknownhostsfile"))
        checking = get("ansible_host_key_checking", "ansible_ssh_host_key_checking")
        seconds = get("ansible_ssh_timeout", "ansible_timeout") or options.get("connecttimeout")
        return cls(
            host=host,
            address=str(options.get("hostname") or get("ansible_host", "ansible_ssh_host") or host),
            port=_port(host, get("ansible_port", "ansible_ssh_port") or options.get("port")),
            user=str(get("ansible_user", "ansible_ssh_user") or options.get("user") or getpass.getuser()),
            connection=connection,
            key_files=tuple(
                os.path.expanduser(str(key)) for key in ([keys] if isinstance(keys, str) else keys or ())
            ),
            password=_text(get("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")),
            known_hosts=_text(known_hosts),
            host_key_checking=_checking(
                host, options.get("stricthostkeychecking") if checking is None else checking
            ),
            connect_timeout=_seconds(host, seconds),
            python=_python(get("ansible_python_interpreter")),
            jumps=_jumps(options.get("proxyjump")),
            proxy_command=_proxy(options.get("proxycommand")),
            config_file=options.get("configfile"),
            key_alias=options.get("hostkeyalias"),
            keys_only=_yes(options.get("identitiesonly")),
            forward_agent=_yes(options.get("forwardagent")),
            compression=_yes(options.get("compression")),
            keepalive=_whole(host, options.get("serveraliveinterval")),
        )

    def hop(self) -> ConnectionSettings | None:
        """The last of the jumps, reached through those before it; its keys and host key checks are its own
        where ~/.ssh/config has some. None without a jump."""
        if not self.jumps:
            return None
        *before, last = self.jumps
        user, _, place = last.rpartition("@")
        name, port = split_port(place)
        options = configured(name, self.config_file)
        checking = options.get("stricthostkeychecking")
        further = _jumps(_text(options.get("proxyjump")))
        if self.host.count("(through") >= _MOST_JUMPS:
            raise UsageError(f"{self.host}: the jumps lead in a circle")
        return replace(
            self,
            host=f"{self.host} (through {name})",
            address=str(options.get("hostname") or name),
            port=_port(name, port or options.get("port")),
            user=str(user or options.get("user") or getpass.getuser()),
            password=None,
            key_files=tuple(options.get("identityfile", ())) or self.key_files,
            known_hosts=_first(options.get("userknownhostsfile")) or self.known_hosts,
            host_key_checking=self.host_key_checking if checking is None else _checking(name, checking),
            key_alias=_text(options.get("hostkeyalias")),
            jumps=tuple(before) or tuple(jump for jump in further if jump != last),
            proxy_command=None if before else _proxy(_text(options.get("proxycommand"))),
            forward_agent=False,
        )


Connection = Literal["ssh", "local"]
_MOST_JUMPS = 16
_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh")


def kind(given: str, said: str) -> Connection:
    """The kind of connection that Ansible's name stands for. UsageError for another; `said`: what gave it."""
    name = given.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
    if name in _SSH:
        return "ssh"
    if name == "local":
        return "local"
    raise UsageError(
        f"{said} '{given}'; labctl has 'ssh' and 'local'", hint=did_you_mean(name, ("ssh", "local"))
    )


def _connection(host: str, value: Any) -> Connection:
    given = str(value or ("local" if host == "localhost" else "ssh"))
    return kind(given, f"{host}: ansible_connection is")


def _options(get: Callable[..., Any], address: str, connection: Connection) -> dict[str, Any]:
    """OpenSSH's options for a host: those in its variables, then those of the configuration files."""
    if connection == "local":
        return {}
    found: dict[str, Any] = {}
    for variable in ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"):
        for name, value in parse(str(get(variable) or ""), variable).items():
            found.setdefault(name, value)
    proxied = "proxyjump" in found or "proxycommand" in found
    for name, said in configured(address, found.get("configfile")).items():
        if not (proxied and name in ("proxyjump", "proxycommand")):
            found.setdefault(name, said)
    return found


def _jumps(value: str | None) -> tuple[str, ...]:
    if value is None or value.lower() == "none":
        return ()
    return tuple(part.strip().removeprefix("ssh://") for part in value.split(",") if part.strip())


def _proxy(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


def _first(files: Any) -> str | None:
    """Of several files of known hosts the first, where new keys go too."""
    return next(iter(str(files or "").split()), None)


def _whole(host: str, value: Any) -> int:
    text = str(value or "0")
    if not text.isdigit():
        raise UsageError(f"{host}: ServerAliveInterval is {text!r}; it is a number of seconds")
    return int(text)


def _yes(value: Any) -> bool:
    return str(value).lower() in ("yes", "true")


def split_port(place: str) -> tuple[str, str | None]:
    """`host`, `host:port` or `[address]:port`."""
    found = re.fullmatch(r"\[(?P<inside>[^\]]+)\](?::(?P<a>\d+))?|(?P<plain>[^:]+):(?P<b>\d+)", place)
    if found is None:
        return place, None
    return found["inside"] or found["plain"], found["a"] or found["b"]


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
