"""Whom a host key belongs to: the known_hosts file, and what happens to a key that is not in it."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any

import paramiko

from labctl.errors import HostKeyMismatch
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
    try:
        client.load_system_host_keys(str(known_hosts_file(settings)))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostKeyMismatch(
            f"{settings.host}: known hosts cannot be read: {known_hosts_file(settings)}: {error.strerror}"
        ) from None
    accept = settings.host_key_checking == "accept-new"
    client.set_missing_host_key_policy(_AcceptNew(settings) if accept else _Refuse(settings))


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
        settings = self._settings
        raise HostKeyMismatch(
            f"{settings.host}: the host key of {settings.address} port {settings.port} is not known: "
            f"{fingerprint(key)}",
            hint=f"compare that fingerprint with the host's own, then: ssh-keyscan -p {settings.port} "
            f"{settings.address} >> {known_hosts_file(settings)}; or set ansible_host_key_checking: accept-new",
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
        known: Any = paramiko.HostKeys(str(path)).lookup(hostname) or {}
        other = known.get(key.get_name())
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
