"""A command line on this machine (`connection: local`), without the agent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time

from labctl.errors import Unreachable
from labctl.node.api import Completed, Output
from labctl.ssh.collected import Collected, StreamName, command_line, end_of, ready_mark
from labctl.ssh.launch import Escalation

HELD_OPEN = 0.25  # seconds to wait for more output after the end: a daemon may hold the pipes open


def run_here(
    command: str,
    escalation: Escalation | None,
    *,
    folder: str | None = None,
    stdin: bytes,
    timeout: float | None,
    output: Output | None,
) -> Completed:
    """The same on this machine (`connection: local`)."""
    ready = ready_mark(escalation)
    argv = command_line(command, escalation, ready)
    start, collected, until = time.time(), Collected(output, ready), end_of(timeout)
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
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


def _drain(process: subprocess.Popen[bytes], collected: Collected, until: float | None) -> bool:
    assert process.stdout is not None
    assert process.stderr is not None
    streams: dict[int, StreamName] = {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}
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
