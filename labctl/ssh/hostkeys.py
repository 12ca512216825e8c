"""Whom a host key belongs to: the known_hosts file, and what happens to a key that is not in it."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from labctl.errors import HostKeyMismatch
from labctl.records import dataclass
from labctl.ssh.libraries import paramiko
from labctl.ssh.settings import ConnectionSettings


def fingerprint(key: paramiko.PKey) -> str:
    """As OpenSSH prints it: 'ssh-ed25519 SHA256:…'."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def known_hosts_file(settings: ConnectionSettings) -> Path:
    return Path(settings.known_hosts or "~/.ssh/known_hosts").expanduser()


def configure(client: paramiko.SSHClient, settings: ConnectionSettings) -> None:
    """Make a client check host keys as the settings say."""
    if settings.host_key_checking == "off":
        client.set_missing_host_key_policy(_AcceptAny())
        return
    name, known = settings.key_alias or _name(settings), client.get_host_keys()
    try:
        for kind, key in known_keys(known_hosts_file(settings), name).items():
            known.add(name, kind, key)
    except OSError as error:
        raise HostKeyMismatch(
            f"{settings.host}: known hosts cannot be read: {known_hosts_file(settings)}: {error.strerror}"
        ) from None
    accept = settings.host_key_checking == "accept-new"
    client.set_missing_host_key_policy(_AcceptNew(settings) if accept else _Refuse(settings))


def known_keys(path: Path, name: str) -> dict[str, paramiko.PKey]:
    """The keys a file of known hosts has for a name ("host", or "[host]:port"), by their kind; the first of a kind
    counts. Only the lines of this host are taken apart, and the file is read again only when it has changed:
    paramiko compares every line with every other, for each connection anew."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return {}
    lines = _lines(path, about.st_mtime_ns, about.st_size)
    found: dict[str, paramiko.PKey] = {}
    hashed = [line for entry, line in lines.hashed if paramiko.HostKeys.hash_host(name, entry) == entry]
    for line in [*lines.plain.get(name, ()), *hashed]:
        try:
            entry = paramiko.hostkeys.HostKeyEntry.from_line(line)
        except (paramiko.hostkeys.InvalidHostKey, paramiko.SSHException):
            continue  # as OpenSSH has it: a line that makes no sense says nothing
        if entry is not None and entry.key is not None:
            found.setdefault(entry.key.get_name(), entry.key)
    return found


@dataclass(frozen=True)
class _Lines:
    """The lines of a file by the names in them; those whose name is hashed with that."""

    plain: dict[str, list[str]]
    hashed: list[tuple[str, str]]


@lru_cache(maxsize=4)
def _lines(path: Path, _changed: int, _size: int) -> _Lines:
    plain: dict[str, list[str]] = {}
    hashed: list[tuple[str, str]] = []
    for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        for name in line.split(None, 1)[0].split(","):
            if name.startswith("|1|"):
                hashed.append((name, line))
            else:
                plain.setdefault(name, []).append(line)
    return _Lines(plain, hashed)


def mismatch(settings: ConnectionSettings, found: paramiko.PKey, known: paramiko.PKey) -> HostKeyMismatch:
    return HostKeyMismatch(
        f"{settings.host}: the host key of {settings.address} port {settings.port} is not the one in "
        f"{known_hosts_file(settings)}: the host offers {fingerprint(found)}, known is {fingerprint(known)}",
        hint="either somebody stands between, or the host was made anew; if you know it was, remove the old "
        f"key with: ssh-keygen -f {known_hosts_file(settings)} -R '{_name(settings)}'",
    )


def _name(settings: ConnectionSettings) -> str:
    return settings.address if settings.port == 22 else f"[{settings.address}]:{settings.port}"


class _AcceptAny(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        pass


class _Refuse(paramiko.MissingHostKeyPolicy):
    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        settings, kept_in = self._settings, known_hosts_file(self._settings)
        learn = f"ssh-keyscan -p {settings.port} {settings.address} >> {kept_in}"
        if kept_in == Path(os.devnull):
            learn = f"name a file that can hold it, as nothing is known in {kept_in} (labctl_known_hosts)"
        raise HostKeyMismatch(
            f"{settings.host}: the host key of {settings.address} port {settings.port} is not known: "
            f"{fingerprint(key)}",
            hint=f"compare that fingerprint with the host's own, then: {learn};"
            " or set ansible_host_key_checking: accept-new",
        )


class _AcceptNew(paramiko.MissingHostKeyPolicy):
    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        remember(known_hosts_file(self._settings), hostname, key, self._settings)


def remember(path: Path, hostname: str, key: paramiko.PKey, settings: ConnectionSettings) -> None:
    """Append a key in one write, under a lock that other runs respect too. HostKeyMismatch when one of
    them has just remembered a different key for the same name."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        other = known_keys(path, hostname).get(key.get_name())
        if other == key:
            return
        if other is not None:
            raise mismatch(settings, key, other)
        size = os.fstat(fd).st_size
        lead = "\n" if size and os.pread(fd, 1, size - 1) != b"\n" else ""
        os.write(fd, f"{lead}{hostname} {key.get_name()} {key.get_base64()}\n".encode())
        os.fsync(fd)
    finally:
        os.close(fd)
