"""OpenSSH's options, as `ansible_ssh_common_args` and ~/.ssh/config give them: which ones mean something here."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import paramiko

USED = (
    "Compression",
    "ConnectTimeout",
    "ForwardAgent",
    "HostKeyAlias",
    "HostName",
    "IdentitiesOnly",
    "IdentityFile",
    "Port",
    "ProxyCommand",
    "ProxyJump",
    "ServerAliveInterval",
    "StrictHostKeyChecking",
    "User",
    "UserKnownHostsFile",
)
# Those that ask for what labctl does anyway, that choose what it never does, or that are only about terminals
# and OpenSSH's own sharing of connections.
_MEANT_ANYWAY = (
    *("AddKeysToAgent", "AddressFamily", "BatchMode", "CheckHostIP", "Ciphers", "ConnectionAttempts"),
    *("ControlMaster", "ControlPath", "ControlPersist", "EscapeChar", "ExitOnForwardFailure"),
    *("ForwardX11", "ForwardX11Trusted", "GlobalKnownHostsFile", "GSSAPIAuthentication"),
    *("GSSAPIDelegateCredentials", "HashKnownHosts", "HostKeyAlgorithms", "HostbasedAuthentication", "IPQoS"),
    *("IdentityAgent", "KbdInteractiveAuthentication", "KexAlgorithms", "LogLevel", "MACs"),
    *("NumberOfPasswordPrompts", "PasswordAuthentication", "PreferredAuthentications"),
    *("PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes", "PubkeyAuthentication", "RequestTTY", "SendEnv"),
    *("ServerAliveCountMax", "TCPKeepAlive", "UpdateHostKeys", "VerifyHostKeyDNS", "VisualHostKey"),
)
_KNOWN = {name.lower(): name for name in (*USED, *_MEANT_ANYWAY)}
_WORTH_READING = {name.lower() for name in USED} | {"match"}
_FLAGS = "46aACkKnNqTtvx"  # without a value
_VALUES = {"-J": "proxyjump", "-p": "port", "-l": "user", "-i": "identityfile", "-F": "configfile"}


def parse(text: str, where: str) -> dict[str, str]:
    """The options in the words of an `ssh` command line, their names in lower case; the first of a name wins.
    `configfile` is -F's. UsageError for what labctl cannot do; `where` names the variable for it."""
    found: dict[str, str] = {}
    for name, value in _words(text, where):
        found.setdefault(name, value)
    return found


def _words(text: str, where: str) -> Iterator[tuple[str, str]]:
    try:
        words = iter(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{where}: {str(error).lower()}: {text}") from None
    for word in words:
        letter, rest = word[:2], word[2:]
        if letter == "-o" or letter in _VALUES:
            value = rest or next(words, "")
            if not value:
                raise UsageError(f"{where}: {letter} needs a value")
            yield _option(value, where) if letter == "-o" else (_VALUES[letter], value)
        elif word.startswith("-") and len(word) > 1 and not word[1:].strip(_FLAGS):
            if "A" in word:
                yield "forwardagent", "yes"
            if "C" in word:
                yield "compression", "yes"
        else:
            raise UsageError(
                f"{where}: labctl does not have ssh's '{word}'", hint="it takes -o, -J, -p, -l, -i, -F"
            )


def _option(text: str, where: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        name, _, value = text.partition(" ")
    name, value = name.strip(), value.strip().strip('"')
    if name.lower() not in _KNOWN:
        raise UsageError(
            f"{where}: labctl does not have ssh's option '{name}'", hint=did_you_mean(name, _KNOWN.values())
        )
    return name.lower(), value


def configured(name: str, file: str | None = None) -> Mapping[str, str | list[str]]:
    """What ~/.ssh/config and /etc/ssh/ssh_config, or `file` instead, say of a host by the name it is called;
    option names in lower case, `identityfile` a list. `hostname` is there where a file says it."""
    return _configured(name, file, os.path.expanduser("~"))


@lru_cache(maxsize=4096)
def _configured(name: str, file: str | None, _home: str) -> Mapping[str, str | list[str]]:
    if file is not None and file.lower() == "none":
        return {}
    paths = (file,) if file else ("~/.ssh/config", "/etc/ssh/ssh_config")
    texts = [_text(Path(path).expanduser(), needed=file is not None) for path in paths]
    config = _read("\n".join(filter(None, texts)))
    if config is None:
        return {}
    found: dict[str, str | list[str]] = dict(config.lookup(name))
    if keys := found.pop("identityfile", None):  # OpenSSH passes over those that are not there
        found["identityfile"] = [key for key in keys if os.path.exists(key)]
    if found.get("hostname") == name:
        del found["hostname"]
    return found


@lru_cache(maxsize=16)
def _read(text: str) -> paramiko.SSHConfig | None:
    """None where it says nothing of what labctl goes by: paramiko takes its time to load."""
    if _WORTH_READING.isdisjoint(map(_first_word, text.splitlines())):
        return None
    from labctl.ssh.libraries import paramiko

    try:
        return paramiko.SSHConfig.from_text(text)
    except (paramiko.SSHException, ValueError) as error:
        raise UsageError(f"~/.ssh/config: {error}") from None


def _first_word(line: str) -> str:
    return next(iter(line.replace("=", " ", 1).split(maxsplit=1)), "").lower()


def _text(path: Path, *, needed: bool, depth: int = 0) -> str:
    """A configuration file with the files that it includes."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        if needed:
            raise UsageError(f"{path}: {error.strerror}", hint="it is named with -F") from None
        return ""
    found: list[str] = []
    for line in lines:
        if _first_word(line) == "include" and depth < 16:
            for pattern in shlex.split(line.replace("=", " ", 1))[1:]:
                inside = os.path.join(path.parent, os.path.expanduser(pattern))
                found += [
                    _text(Path(one), needed=False, depth=depth + 1) for one in sorted(glob.glob(inside))
                ]
        else:
            found.append(line)
    # without a Host line of its own what follows belongs to every host
    return "\n".join(["Host *", *found]) if depth == 0 else "\n".join(found)
