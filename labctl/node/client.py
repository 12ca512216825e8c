"""`AgentNode`: the primitives of a node, spoken to its agent over any byte pipe."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import MAGIC_NUMBER
from io import FileIO
from pathlib import Path
from typing import Any, Unpack

from labctl.node.api import CommandOptions, Completed, Stat
from labctl.node.asked import Asked, check, without_none
from labctl.node.bundle import function_code, function_source
from labctl.node.clock import CLOSE, Clock
from labctl.node.link import Exchange, Frame, Header, Link, Pipe
from labctl.node.stream import AgentStream

CHUNK = (256 << 10) - 1024  # bytes of a piece: with what goes before it, 8 of SSH's packets
WINDOW = 4 << 20  # bytes of a transfer under way before the receiver must have confirmed some
CONFIRMED = 1 << 20  # bytes the receiver confirms at once
ANSWER_WITHIN = 120.0  # seconds for a file primitive: a node whose disk hangs must not hold a run for ever
KILL_WITHIN = 10.0  # seconds a node has, past a command's timeout, to kill it and say so


class AgentNode:
    """One host as one user; see `labctl.node.api.Node`. Thread-safe."""

    def __init__(
        self, host: str, pipe: Pipe, *, connect_timeout: float = 10.0, received: bytes = b""
    ) -> None:
        """Start the agent at the other end of `pipe`. Raises `link.AgentDidNotStart`."""
        self._host = host
        self._link = Link(host, pipe, timeout=connect_timeout, received=received)
        self._shipped: set[str] = set()
        self._clock = Clock(self._compare_clocks)

    @property
    def host(self) -> str:
        return self._host

    @property
    def alive(self) -> bool:
        """Whether the connection still holds, as far as is known without asking."""
        return self._link.alive

    @property
    def idle(self) -> bool:
        """Whether it lives and waits for nothing: then asking for a command takes no time."""
        return self._link.idle

    @property
    def hello(self) -> Header:
        """What the agent said of itself: pid, uid, python, and the number of the compiled code it takes."""
        return self._link.hello

    @property
    def round_trips(self) -> int:
        return self._link.round_trips

    # ------------------------------------------------------------ commands

    def run(self, argv: Sequence[str], **how: Unpack[CommandOptions]) -> Completed:
        asked, timeout = self.ask(Asked(argv, **how)), how.get("timeout")
        limit = None if timeout is None else time.monotonic() + timeout + KILL_WITHIN
        asked.wait(limit)
        return asked.completed()

    def ask(self, asked: Asked, heard: Callable[[], None] | None = None) -> Asked:
        """Begin a command without waiting for it. `heard` is called, in whatever thread, for each thing that comes of
        it."""
        asked.sent(self._link.request({"op": "run", **asked.request}, asked.stdin, heard))
        return asked

    def ask_each(self, commands: Sequence[Asked]) -> None:
        """Begin commands that the node runs one after the other: one round trip for all. They are to be waited for in
        this order."""
        each = [{**asked.request, "stdin": len(asked.stdin)} for asked in commands]
        exchange = self._link.request({"op": "each", "commands": each}, b"".join(a.stdin for a in commands))
        for asked in commands:
            asked.sent(exchange, last=asked is commands[-1])

    def start(
        self,
        program: bytes,
        arguments: Sequence[str],
        *,
        line: Callable[[str], None],
        name: str = "program",
    ) -> AgentStream:
        header = {"op": "start", "name": name, "arguments": list(arguments), "stream": True}
        exchange = self._link.request(header, program)
        return AgentStream(self._link, exchange, (name, *arguments), line)

    def call(self, module: str, function: str, /, **arguments: Any) -> Any:
        digest, source = function_source(module)
        header: Header = {"op": "call", "module": module, "function": function, "hash": digest}
        known = digest in self._shipped
        self._shipped.add(digest)
        request = {**header, "arguments": arguments}
        if known:
            values, _ = self._ask(request, limited=False)
            if not values.get("unknown"):
                return values["value"]
        if self.hello.get("code") == MAGIC_NUMBER.hex():
            request, source = {**request, "compiled": True}, function_code(module)
        values, _ = self._ask(request, source, limited=False)
        return values["value"]

    # ------------------------------------------------------------ files

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        return self._ask({"op": "read", "path": path, "limit": limit})[1]

    def write(
        self,
        path: str,
        data: bytes,
        *,
        mode: int | None = None,
        owner: str | None = None,
        group: str | None = None,
        backup: bool = False,
    ) -> str | None:
        header = {"op": "write", "path": path, "mode": mode, "owner": owner, "group": group, "backup": backup}
        values, _ = self._ask(without_none(header), data)
        kept: str | None = values["backup"]
        return kept

    def put(self, source: Path, path: str, *, mode: int | None = None) -> None:
        with source.open("rb", buffering=0) as stream:
            exchange = self._link.request(without_none({"op": "put", "path": path, "mode": mode}))
            try:
                self._send_pieces(exchange, stream)
                while (frame := exchange.next(_soon()))[0].get("room"):
                    pass
            except BaseException:
                exchange.cancel()
                raise
        exchange.done()
        check(frame[0])

    def _send_pieces(self, exchange: Exchange, stream: FileIO) -> None:
        room, spare = WINDOW, memoryview(bytearray(CHUNK))
        piece = _filled(memoryview(bytearray(CHUNK)), stream)
        last = False
        while not last:
            following = _filled(spare, stream)
            last = not following
            while room < len(piece):
                values, _ = exchange.next(_soon())
                if "room" not in values:
                    exchange.add((values, b""))  # it failed: the caller reads why
                    return
                room += values["room"]
            self._link.post({"id": exchange.number, "last": last}, piece)
            room -= len(piece)
            piece, spare = following, piece

    def get(self, path: str, destination: Path) -> None:
        fd, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
        exchange, room = None, 0
        try:
            with os.fdopen(fd, "wb", buffering=CHUNK) as stream:
                exchange = self._link.request({"op": "get", "path": path})
                while True:
                    values, piece = exchange.next(_soon())
                    if "piece" not in values:
                        break
                    stream.write(piece)
                    room += len(piece)
                    if room >= CONFIRMED:
                        self._link.post({"id": exchange.number, "room": room})
                        room = 0
            exchange.done()
            check(values)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, destination)
        except BaseException:
            os.unlink(temporary)
            if exchange:
                exchange.cancel()
            raise

    def stat(self, path: str, *, follow: bool = False, checksum: bool = False) -> Stat | None:
        values, _ = self._ask({"op": "stat", "path": path, "follow": follow, "checksum": checksum})
        return Stat(**values["stat"]) if values["stat"] else None

    def list(self, path: str) -> list[Stat]:
        values, _ = self._ask({"op": "list", "path": path})
        return [Stat(**entry) for entry in values["entries"]]

    def remove(self, path: str) -> bool:
        return bool(self._ask({"op": "remove", "path": path})[0]["removed"])

    def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True) -> bool:
        header = {"op": "mkdir", "path": path, "mode": mode, "parents": parents}
        return bool(self._ask(header)[0]["made"])

    def link(self, target: str, path: str, *, hard: bool = False) -> None:
        self._ask({"op": "link", "target": target, "path": path, "hard": hard})

    def chmod(self, path: str, mode: int, *, follow: bool = True) -> None:
        self._ask({"op": "chmod", "path": path, "mode": mode, "follow": follow})

    def chown(
        self, path: str, *, owner: str | None = None, group: str | None = None, follow: bool = True
    ) -> None:
        self._ask({"op": "chown", "path": path, "owner": owner, "group": group, "follow": follow})

    # ------------------------------------------------------------ the rest

    def clock_offset(self, error: float = CLOSE, meanwhile: Callable[[], None] = lambda: None) -> float:
        return self._clock.offset(error, meanwhile)

    def _compare_clocks(self) -> Callable[[], tuple[float, float]]:
        came: list[float] = []
        before = time.time()
        exchange = self._link.request({"op": "ping"}, heard=lambda: came.append(time.time()))

        def told() -> tuple[float, float]:
            values, _ = _answer(exchange, _soon())
            after = came[0] if came else time.time()  # it is here, and about to be noted
            return after - before, values["time"] - (before + after) / 2

        return told

    def finish(self) -> None:
        """Begin to close: several agents can then end at the same time."""
        self._link.finish()

    def close(self, patience: float = 5.0) -> None:
        """End the agent; it kills what it still runs. Waits for that, `patience` seconds at the most."""
        self._link.close(patience)

    def _ask(self, header: Header, body: bytes = b"", *, limited: bool = True) -> Frame:
        return _answer(self._link.request(header, body), _soon() if limited else None)


def _answer(exchange: Exchange, limit: float | None) -> Frame:
    try:
        frame = exchange.next(limit)
    except BaseException:
        exchange.cancel()
        raise
    exchange.done()
    check(frame[0])
    return frame


def _filled(buffer: memoryview, stream: FileIO) -> memoryview:
    return buffer[: stream.readinto(buffer)]


def _soon() -> float:
    return time.monotonic() + ANSWER_WITHIN


def _umask() -> int:
    with open("/proc/self/status") as stream:
        return next((int(line.split()[1], 8) for line in stream if line.startswith("Umask:")), 0o022)


def sha256_of(path: Path) -> str:
    """The hex digest of a local file, to compare with `Stat.checksum`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
