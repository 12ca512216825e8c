"""A command line through the login shell of a plain channel: what a host without Python still understands."""

from __future__ import annotations

import codecs
import os
import secrets
import select
import shlex
import signal
import subprocess
import threading
import time
from typing import Any, Literal

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from labctl.errors import ConnectionLost, TaskTimeout, Unreachable
from labctl.node.api import Completed, Output
from labctl.node.limits import deadline
from labctl.ssh.launch import Escalation
from labctl.ssh.transport import Session

Channel = Literal["stdout", "stderr"]
HELD_OPEN = 0.25  # seconds to wait for more output after the exit status: a daemon may hold the channel open
QUIET = 15.0  # seconds without output until sshd is asked whether it lives, and again to answer


class _Collected:
    """Output as it comes. Up to `ready` on stderr it belongs to the talk with sudo and is not shown."""

    def __init__(self, output: Output | None, ready: str | None) -> None:
        self._output = output
        self._ready = ready.encode() if ready else None
        self.talk = b""
        self.pieces: dict[Channel, list[bytes]] = {"stdout": [], "stderr": []}
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": make("replace"), "stderr": make("replace")}

    @property
    def ready(self) -> bool:
        return self._ready is None

    def add(self, stream: Channel, data: bytes) -> None:
        if self._ready is not None and stream == "stderr":
            self.talk += data
            before, found, data = self.talk.partition(self._ready)
            if not found:
                return
            self.talk, self._ready = before, None
        self.pieces[stream].append(data)
        if self._output and (text := self._decoders[stream].decode(data)):
            self._output(stream, text)

    def completed(self, command: str, rc: int, start: float, *, timed_out: bool) -> Completed:
        out, err = (b"".join(self.pieces[stream]) for stream in ("stdout", "stderr"))
        return Completed((command,), rc, out, err, start, time.time(), timed_out=timed_out)


def _command_line(command: str, escalation: Escalation | None, ready: str | None) -> list[str]:
    argv = ["/bin/sh", "-c", command]
    if ready:
        argv = ["/bin/sh", "-c", f'printf %s {ready} >&2; exec /bin/sh -c "$0"', command]
    return escalation.argv(argv) if escalation else argv


def _ready_mark(escalation: Escalation | None) -> str | None:
    needed = escalation is not None and escalation.become.password is not None
    return f"labctl-{secrets.token_hex(8)}" if needed else None


def _until(timeout: float | None) -> float | None:
    limits = [one for one in (deadline(), None if timeout is None else time.monotonic() + timeout) if one]
    return min(limits) if limits else None


# ---------------------------------------------------------------- over SSH


def run_there(
    session: Session,
    command: str,
    escalation: Escalation | None,
    *,
    stdin: bytes,
    timeout: float | None,
    output: Output | None,
) -> Completed:
    host, ready = session.settings.host, _ready_mark(escalation)
    line = shlex.join(_command_line(command, escalation, ready)) if escalation else command
    until, start, collected = _until(timeout), time.time(), _Collected(output, ready)
    with session.bounded(session.settings.connect_timeout):
        try:
            channel = session.channel()
            channel.exec_command(line)
        except (paramiko.SSHException, OSError, EOFError, AssertionError) as error:
            raise Unreachable(f"{host}: no command can be started: {error}") from None
    try:
        if ready is None:
            _feed(channel, stdin)
        timed_out = _collect(session, channel, collected, escalation, stdin, until)
        if timed_out:
            _kill(channel)
            if timeout is None:
                raise TaskTimeout(f"{host}: the command has not ended in time")
        elif not channel.exit_status_ready() and not session.alive:
            raise ConnectionLost(f"{host}: the connection was lost")
        rc = channel.recv_exit_status() if channel.exit_status_ready() else -signal.SIGKILL
        if ready and not collected.ready and not timed_out and escalation:
            said = collected.talk.decode(errors="replace").replace(escalation.prompt, "")
            raise escalation.failure(host, said) or escalation.wrong_password(host)
        return collected.completed(command, rc, start, timed_out=timed_out)
    except BaseException:
        _kill(channel)
        raise
    finally:
        channel.close()


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
    session: Session,
    channel: paramiko.Channel,
    collected: _Collected,
    escalation: Escalation | None,
    stdin: bytes,
    until: float | None,
) -> bool:
    """Read until the command has ended; True when `until` came first."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    password_given = fed = collected.ready
    heard, probe = time.monotonic(), None
    while True:
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
            raise escalation.wrong_password(session.settings.host)
        if collected.ready and not fed:
            _feed(channel, stdin)
            fed = True
        if time.monotonic() - heard > QUIET:
            probe = probe or _Probe(session)
            if probe.failed():
                session.close()
                raise ConnectionLost(f"{session.settings.host}: no sign of life for {2 * QUIET:.0f} s")
            if probe.answered:
                heard, probe = time.monotonic(), None


def _read(channel: paramiko.Channel, collected: _Collected) -> bool:
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

    def __init__(self, session: Session) -> None:
        self._started = time.monotonic()
        self._thread = threading.Thread(
            target=session.transport.global_request, args=("keepalive@openssh.com",), daemon=True
        )
        self._thread.start()

    @property
    def answered(self) -> bool:
        return not self._thread.is_alive()

    def failed(self) -> bool:
        return self._thread.is_alive() and time.monotonic() - self._started > QUIET


def _kill(channel: paramiko.Channel) -> None:
    """SIGKILL by RFC 4254 §6.9, which OpenSSH understands since 7.9; closing the channel alone ends
    only what reads or writes it."""
    if channel.closed or channel.exit_status_ready():
        return
    transport: Any = channel.transport
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("signal")
    message.add_boolean(False)
    message.add_string("KILL")
    try:
        transport._send_user_message(message)  # noqa: SLF001 - paramiko offers no other way
    except (OSError, EOFError, paramiko.SSHException):
        return


# ---------------------------------------------------------------- here


def run_here(
    command: str,
    escalation: Escalation | None,
    *,
    stdin: bytes,
    timeout: float | None,
    output: Output | None,
) -> Completed:
    """The same on this machine (`connection: local`)."""
    ready = _ready_mark(escalation)
    argv = _command_line(command, escalation, ready)
    start, collected, until = time.time(), _Collected(output, ready), _until(timeout)
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise Unreachable(f"{argv[0]} cannot be started: {error.strerror}") from None
    with process:
        given = (escalation.become.password or "").encode() + b"\n" + stdin if ready and escalation else stdin
        feeder = threading.Thread(target=_write_all, args=(process, given), daemon=True)
        feeder.start()
        timed_out = _drain(process, collected, until)
        if timed_out:
            _kill_group(process)
            if timeout is None:
                raise TaskTimeout("the command has not ended in time")
        rc = process.wait()
    if ready and not collected.ready and not timed_out and escalation:
        said = collected.talk.decode(errors="replace").replace(escalation.prompt, "")
        raise escalation.failure("localhost", said) or escalation.wrong_password("localhost")
    return collected.completed(command, rc, start, timed_out=timed_out)


def _write_all(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        process.stdin.close()
    except OSError:
        return


def _drain(process: subprocess.Popen[bytes], collected: _Collected, until: float | None) -> bool:
    assert process.stdout is not None
    assert process.stderr is not None
    streams: dict[int, Channel] = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}
    poll = select.poll()
    for fd in streams:
        poll.register(fd, select.POLLIN)
    while streams:
        wait = HELD_OPEN if until is None else min(HELD_OPEN, until - time.monotonic())
        if wait <= 0:
            return True
        events = poll.poll(wait * 1000)
        if not events and process.poll() is not None:
            return False
        for fd, _ in events:
            data = os.read(fd, 1 << 18)
            if data:
                collected.add(streams[fd], data)
            else:
                poll.unregister(fd)
                del streams[fd]
    try:
        process.wait(None if until is None else max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return True
    return False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
