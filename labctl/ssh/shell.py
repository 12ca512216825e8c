"""A command line through the login shell of a plain channel: what a host without Python still understands."""

from __future__ import annotations

import secrets
import select
import shlex
import signal
import threading
import time
from collections.abc import Callable, Mapping

from labctl.errors import ConnectionLost, LabctlError
from labctl.node.api import Completed, Output
from labctl.ssh.collected import Collected, command_line, end_of, ready_mark
from labctl.ssh.launch import Escalation
from labctl.ssh.libraries import paramiko

HELD_OPEN = 0.25  # seconds to wait for more output after the exit status: a daemon may hold the channel open
QUIET = 15.0  # seconds without output until sshd is asked whether it lives, and again to answer
# Debian, Ubuntu and Red Hat let LC_* in (AcceptEnv); where it is let in, it marks what the command starts
_MARK = "LC_LABCTL"


Execute = Callable[[str, Mapping[str, str]], paramiko.Channel]


def run_there(
    execute: Execute,
    host: str,
    command: str,
    escalation: Escalation | None,
    *,
    stdin: bytes,
    timeout: float | None,
    output: Output | None,
    kill: bool = True,
) -> Completed:
    """`execute` starts a command line with these environment variables and gives its channel."""
    mark, ready = secrets.token_hex(8), ready_mark(escalation)
    line = shlex.join(command_line(command, escalation, ready)) if escalation else command
    until, start, collected = end_of(timeout), time.time(), Collected(output, ready)
    channel = execute(line, {_MARK: mark} if kill else {})
    try:
        timed_out = _collect(channel, collected, host=host, escalation=escalation, stdin=stdin, until=until)
        if not timed_out and not channel.exit_status_ready() and not _transport(channel).is_active():
            raise ConnectionLost(f"{host}: the connection was lost")
        rc = channel.recv_exit_status() if channel.exit_status_ready() else -signal.SIGKILL
        if ready and not collected.ready and not timed_out and escalation:
            said = collected.talk.decode(errors="replace").replace(escalation.prompt, "")
            raise escalation.failure(host, said) or escalation.wrong_password(host)
        return collected.completed(command, rc, start, timed_out=timed_out)
    finally:
        unfinished = not channel.exit_status_ready()
        channel.close()
        if kill and unfinished and collected.ready and _transport(channel).is_active():
            _kill(execute, host, mark, escalation)


def _transport(channel: paramiko.Channel) -> paramiko.Transport:
    transport = channel.get_transport()
    assert transport is not None
    return transport


def _feed(channel: paramiko.Channel, stdin: bytes) -> None:
    def work() -> None:
        try:
            channel.settimeout(None)
            channel.sendall(stdin)
            channel.shutdown_write()
        except (OSError, EOFError):
            return  # it has ended without reading all of it

    if stdin:
        threading.Thread(target=work, daemon=True).start()
    else:
        channel.shutdown_write()


def _collect(
    channel: paramiko.Channel,
    collected: Collected,
    *,
    host: str,
    escalation: Escalation | None,
    stdin: bytes,
    until: float | None,
) -> bool:
    """Read until the command has ended; True when `until` came first."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    password_given, fed = collected.ready, False
    heard, probe = time.monotonic(), None
    while True:
        if collected.ready and not fed:
            _feed(channel, stdin)
            fed = True
        now = time.monotonic()
        if until is not None and now >= until:
            return True
        poll.poll(1000 * min(HELD_OPEN, HELD_OPEN if until is None else until - now))
        if _read(channel, collected):
            heard, probe = time.monotonic(), None
        elif channel.eof_received or channel.closed:
            channel.status_event.wait(HELD_OPEN)
            return False
        elif channel.exit_status_ready() and time.monotonic() - heard > HELD_OPEN:
            return False
        if escalation and not password_given and escalation.prompt.encode() in collected.talk:
            channel.sendall((escalation.become.password or "").encode() + b"\n")
            password_given = True
        elif escalation and not collected.ready and collected.talk.count(escalation.prompt.encode()) > 1:
            raise escalation.wrong_password(host)
        if time.monotonic() - heard > QUIET:
            probe = probe or _Probe(_transport(channel))
            if probe.failed():
                _transport(channel).close()
                raise ConnectionLost(f"{host}: no sign of life for {2 * QUIET:.0f} s")
            if probe.answered:
                heard, probe = time.monotonic(), None


def _read(channel: paramiko.Channel, collected: Collected) -> bool:
    found = False
    while channel.recv_ready():
        collected.add("stdout", channel.recv(1 << 18))
        found = True
    while channel.recv_stderr_ready():
        collected.add("stderr", channel.recv_stderr(1 << 18))
        found = True
    return found


class _Probe:
    """Asks sshd for an answer; a frozen node acknowledges TCP but gives none."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._started = time.monotonic()
        self._thread = threading.Thread(
            target=transport.global_request, args=("keepalive@openssh.com",), daemon=True
        )
        self._thread.start()

    @property
    def answered(self) -> bool:
        return not self._thread.is_alive()

    def failed(self) -> bool:
        return self._thread.is_alive() and time.monotonic() - self._started > QUIET


def _kill(execute: Execute, host: str, mark: str, escalation: Escalation | None) -> None:
    """As well as it can be done: sshd itself ends nothing when a channel closes, and does not pass signals
    on for root, so a second command kills whatever carries the mark in its environment."""
    script = (
        f"for e in /proc/[0-9]*/environ; do if grep -q {_MARK}={mark} $e 2>/dev/null; "
        "then p=${e#/proc/}; kill -9 ${p%/environ}; fi; done"
    )
    try:
        run_there(
            execute,
            host,
            f"/bin/sh -c '{script}'",
            escalation,
            stdin=b"",
            timeout=5.0,
            output=None,
            kill=False,
        )
    except LabctlError:
        return
