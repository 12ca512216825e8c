"""One authenticated SSH transport to a host, made through fabric, and every way that can fail."""

from __future__ import annotations

import errno
import logging
import random
import re
import shlex
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

from labctl.errors import AuthenticationFailed, LabctlError, Unreachable
from labctl.ssh import hostkeys, knock
from labctl.ssh.eager import Transport
from labctl.ssh.keys import Client
from labctl.ssh.libraries import fabric, paramiko
from labctl.ssh.limits import LIMITS
from labctl.ssh.prompt import PromptSocket
from labctl.ssh.settings import ConnectionSettings
from labctl.ssh.waiting import LOOK_UP

KEEPALIVE = 5  # seconds
UNACKNOWLEDGED = 30_000  # milliseconds until the kernel gives up on a peer that acknowledges nothing
# sshd drops connections above 10 unauthenticated ones (MaxStartups 10:30:100)
_AT_ONCE = 9
_gates: defaultdict[str, threading.BoundedSemaphore] = defaultdict(
    lambda: threading.BoundedSemaphore(_AT_ONCE)
)

# it logs tracebacks of what is raised anyway, and what is raised is translated below
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
# OpenSSH has the NIST curve from OpenSSL, and computes the other itself: 5 ms of a node's processor more for a login.
_KEX = ("ecdh-sha2-nistp256", "curve25519-sha256@libssh.org", "curve25519-sha256")
_KEYS = ("ssh-ed25519",)
_SMALL_BLOCKS = "3des-cbc"
# Bytes until new keys are exchanged: 2^32 blocks of AES, as OpenSSH has it. Paramiko would do so after 512 MiB, and an
# exchange in the middle of a transfer ends the connection now and then (2 of 10 with one in each MiB).
_NEW_KEYS = 1 << 36


def first(wanted: Iterable[str], available: Iterable[str]) -> tuple[str, ...]:
    have = tuple(available)
    chosen = tuple(name for name in wanted if name in have)
    return chosen + tuple(name for name in have if name not in chosen)


def make_transport(sock: Any, **kwargs: Any) -> Transport:
    """A paramiko transport without Nagle's 40 ms, with authenticated fast ciphers first."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED)
        timeout = sock.gettimeout()
        sock = PromptSocket(fileno=sock.detach())
        sock.settimeout(timeout)
    transport = Transport(sock, **kwargs)
    if isinstance(sock, PromptSocket):
        sock.settimeout(LOOK_UP)  # paramiko's thread of each connection looks up then: every 0.1 s otherwise
    options = transport.get_security_options()
    options.ciphers = first(_CIPHERS, (name for name in options.ciphers if name != _SMALL_BLOCKS))
    transport.packetizer.REKEY_BYTES = _NEW_KEYS
    options.kex = first(_KEX, options.kex)
    options.key_types = first(_KEYS, options.key_types)
    return transport


class Session:
    """A host's transport. `client` is fabric's connection, for SFTP and forwards over the same transport."""

    def __init__(self, settings: ConnectionSettings, wanted: str | None = None) -> None:
        """Connect and authenticate. `wanted`: what will be executed first, without an environment. Raises Unreachable and
        its children."""
        self.settings = settings
        self._way: list[Session] = []
        try:
            self.client = _connect(settings, self._socket, None if settings.forward_agent else wanted)
        except BaseException:
            self._leave()
            raise
        self.transport: Transport = self.client.transport
        self.transport.set_keepalive(settings.keepalive or KEEPALIVE)
        if settings.compression:
            self.transport.use_compression()

    def _socket(self) -> Any:
        """What the connection runs over: None for a socket of its own, else a channel through the host
        before it, whose host key is checked as any other, or what a proxy command reaches."""
        settings = self.settings
        if settings.proxy_command:
            return _through_program(settings)
        hop = settings.hop()
        if hop is None:
            if settings.key_alias:
                return _socket_to(settings)
            return knock.take(settings.address, settings.port, settings.connect_timeout)
        self._leave()
        before = Session(hop)
        self._way.append(before)
        where = (settings.address, settings.port)
        try:
            return before.transport.open_channel(
                "direct-tcpip", where, ("127.0.0.1", 0), timeout=settings.connect_timeout
            )
        except paramiko.ChannelException as error:
            raise Unreachable(
                f"{settings.host}: {hop.address} lets nothing through to {where[0]} port {where[1]}: {error.text}",
                hint="does its sshd allow it (AllowTcpForwarding), and does it reach that address?",
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unreachable(f"{hop.host}: the connection ended: {error}") from None

    def _leave(self) -> None:
        while self._way:
            self._way.pop().close()

    @property
    def alive(self) -> bool:
        return bool(self.transport.is_active())

    def execute(self, command: str, environment: Mapping[str, str] | None = None) -> paramiko.Channel:
        """Start a command line under the user's login shell. The session is closed when it does not answer in
        time, and left when it only refuses. Raises Unreachable."""
        host, timeout = self.settings.host, self.settings.connect_timeout
        limit = LIMITS.set(timeout, self.transport.close)  # paramiko waits for some answers for ever
        try:
            prepared = environment or self.settings.forward_agent
            prepare = partial(self._prepare, environment or {}) if prepared else None
            return self.transport.execute(command, prepare)
        except paramiko.ChannelException as error:
            raise Unreachable(
                f"{host}: sshd refuses another channel: {error}",
                hint="sshd allows MaxSessions (10 unless set otherwise) of them per connection",
            ) from None
        except (paramiko.SSHException, OSError, EOFError, AssertionError) as error:
            self.close()
            reason = f"no answer within {timeout:g} s" if limit.over else str(error) or "connection lost"
            raise Unreachable(f"{host}: sshd starts no command: {reason}") from None
        finally:
            limit.cancel()

    def _prepare(self, environment: Mapping[str, str], channel: paramiko.Channel) -> None:
        if self.settings.forward_agent:
            paramiko.agent.AgentRequestHandler(channel)
        for name, value in environment.items():
            channel.set_environment_variable(name, value)

    def close(self) -> None:
        self.client.close()
        self._leave()


def _connect(settings: ConnectionSettings, way: Callable[[], Any], wanted: str | None) -> fabric.Connection:
    until = time.monotonic() + settings.connect_timeout
    attempt = 0
    while True:
        attempt += 1
        sock = way()  # outside the gate: what lies on the way may have the same address
        with _gates[settings.address]:
            begun = time.monotonic()
            connection = _connection(settings, sock, wanted)
            try:
                connection.open()
                if not connection.transport.let_in:  # one more key or password is asked for
                    raise paramiko.AuthenticationException
            except Exception as error:
                connection.close()
                # paramiko has many words for "in time nothing came"; the clock knows best
                late = time.monotonic() - begun >= 0.9 * settings.connect_timeout
                if late or not _worth_repeating(error) or attempt == 4 or time.monotonic() > until:
                    raise _translated(error, settings, late=late) from None
            else:
                return connection
        time.sleep(random.uniform(0.05, 0.2) * 2**attempt)


def _socket_to(settings: ConnectionSettings) -> socket.socket:
    try:
        return socket.create_connection((settings.address, settings.port), settings.connect_timeout)
    except OSError as error:
        raise _translated(error, settings, late=False) from None


def _through_program(settings: ConnectionSettings) -> paramiko.ProxyCommand:
    """The proxy command, with %h, %p, %r and %n filled in."""
    known = {"h": settings.address, "p": str(settings.port), "r": settings.user, "n": settings.host, "%": "%"}
    text = settings.proxy_command or ""
    line = re.sub(r"%([hprn%])", lambda found: shlex.quote(known[found[1]]), text).removeprefix("exec ")
    try:
        return paramiko.ProxyCommand(line)
    except (OSError, ValueError) as error:
        raise Unreachable(f"{settings.host}: the ProxyCommand cannot be run: {error}") from None


def _connection(settings: ConnectionSettings, sock: Any, wanted: str | None) -> fabric.Connection:
    timeout = settings.connect_timeout
    keys = [str(name) for name in settings.key_files]
    alone = bool(keys or settings.password)
    connect: dict[str, Any] = {
        "timeout": timeout,
        "banner_timeout": timeout,
        "auth_timeout": timeout,
        "channel_timeout": timeout,
        "transport_factory": partial(make_transport, wanted=wanted),
        "look_for_keys": not alone,
        "allow_agent": settings.password is None and not settings.keys_only,
    }
    if sock is not None:
        connect["sock"] = sock
    if keys:
        connect["key_filename"] = keys
    if settings.password is not None:
        connect["password"] = settings.password
    name, port = (settings.key_alias, 22) if settings.key_alias else (settings.address, settings.port)
    connection = _Connection(
        name,
        user=settings.user,
        port=port,
        config=_config(),
        gateway=False,
        forward_agent=False,
        connect_kwargs=connect,
        inline_ssh_env=False,
    )
    connection.client = Client()
    hostkeys.configure(connection.client, settings)
    return connection


class _Connection(fabric.Connection):  # type: ignore[misc]  # fabric has no types
    """Its attributes are its own. Invoke looks through all that an object has before it sets one, and puts what the class
    does not name into the configuration, which is made anew for that."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


class _NoConfig(paramiko.SSHConfig):
    """~/.ssh/config is in the settings already. An empty one of paramiko's asks for the user's name and the machine's."""

    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:
        return paramiko.SSHConfigDict({"hostname": hostname})


@cache
def _usual() -> fabric.Config:
    """Fabric's own files are not read."""
    return fabric.Config(lazy=True, ssh_config=_NoConfig())


def _config() -> fabric.Config:
    """A copy for each connection: fabric may write into it, and two threads that share one find keys missing then."""
    own = object.__new__(fabric.Config)
    vars(own).update(vars(_usual()))
    return own


def _worth_repeating(error: Exception) -> bool:
    """Sshd refuses at random when too many connect at once: it hangs up before its banner."""
    if isinstance(error, ConnectionResetError | EOFError):
        return True
    return type(error) is paramiko.SSHException and "banner" in str(error)


def _translated(error: Exception, settings: ConnectionSettings, *, late: bool) -> LabctlError:
    host, where = settings.host, f"{settings.address} port {settings.port}"
    if isinstance(error, LabctlError):
        return error
    if isinstance(error, paramiko.BadHostKeyException):
        return hostkeys.mismatch(settings, error.key, error.expected_key)
    if isinstance(error, paramiko.PasswordRequiredException):
        return AuthenticationFailed(
            f"{host}: a key file is protected by a passphrase",
            hint="add the key to ssh-agent (ssh-add), or name another in ansible_ssh_private_key_file",
        )
    if isinstance(error, paramiko.AuthenticationException) or "authentication methods" in str(error):
        tried = ", ".join(settings.key_files) or ("a password" if settings.password else "ssh-agent, ~/.ssh")
        return AuthenticationFailed(
            f"{host}: {where} does not let user '{settings.user}' in (tried: {tried})",
            hint="check ansible_user, ansible_ssh_private_key_file or ansible_password",
        )
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return AuthenticationFailed(
            f"{host}: key file {error.filename}: {error.strerror}",
            hint="it is named in ansible_ssh_private_key_file",
        )
    if isinstance(error, socket.gaierror):
        return Unreachable(
            f"{host}: the name '{settings.address}' cannot be resolved",
            hint="set ansible_host to an address, or mend the name",
        )
    if late or isinstance(error, TimeoutError):
        return Unreachable(f"{host}: {where} did not answer within {settings.connect_timeout:g} s")
    number = _errno(error)
    if number == errno.ECONNREFUSED:
        return Unreachable(f"{host}: {where} refuses the connection", hint="is sshd running there?")
    reason = str(error) or type(error).__name__
    return Unreachable(f"{host}: no SSH connection to {where}: {reason}")


def _errno(error: Exception) -> int | None:
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        inner = next(iter(error.errors.values()), None)
        return getattr(inner, "errno", None)
    return getattr(error, "errno", None)
