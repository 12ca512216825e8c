"""What the two plain shells share: collecting output, and telling the talk with sudo from the command."""

from __future__ import annotations

import codecs
import secrets
import time
from typing import Literal

from labctl.node.api import Completed, Output
from labctl.ssh.launch import Escalation

StreamName = Literal["stdout", "stderr"]


class Collected:
    """Output as it comes. Up to `ready` on stderr it belongs to the talk with sudo and is not shown."""

    def __init__(self, output: Output | None, ready: str | None) -> None:
        self._output = output
        self._ready = ready.encode() if ready else None
        self.talk = b""
        self.pieces: dict[StreamName, list[bytes]] = {"stdout": [], "stderr": []}
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": make("replace"), "stderr": make("replace")}

    @property
    def ready(self) -> bool:
        return self._ready is None

    def add(self, stream: StreamName, data: bytes) -> None:
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


def command_line(command: str, escalation: Escalation | None, ready: str | None) -> list[str]:
    argv = ["/bin/sh", "-c", command]
    if ready:
        argv = ["/bin/sh", "-c", f'printf %s {ready} >&2; exec /bin/sh -c "$0"', command]
    return escalation.argv(argv) if escalation else argv


def ready_mark(escalation: Escalation | None) -> str | None:
    needed = escalation is not None and escalation.become.password is not None
    return f"labctl-{secrets.token_hex(8)}" if needed else None


def end_of(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
