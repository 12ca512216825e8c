"""The controller's end of an agent's pipe: frames out, frames in, one reader thread, and a sense of whether
the other end still lives."""

from __future__ import annotations

import itertools
import queue
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from labctl.errors import ConnectionLost, TaskTimeout
from labctl.node.agent_json import decode, encode
from labctl.node.bundle import MAGIC, TAKEN, bundle, split
from labctl.node.duty import DUTY

Header = dict[str, Any]
Frame = tuple[Header, bytes]

PING_EVERY = 3.0  # the agent gives up after agent.SILENCE = 15 s without a byte
SILENCE = 30.0  # seconds without a byte from the node, pings unanswered, until it counts as lost
_AT_ONCE = 2 << 20  # bytes: what paramiko holds for a channel at the most, as to take a part moves the rest
_LARGE = 1 << 16  # bytes of a body
_NOISE = 1 << 16  # bytes a login shell may print before the agent speaks


class Pipe(Protocol):
    """A two-way byte pipe to a process. `send` and `recv` are called from different threads."""

    def send(self, data: bytes, body: bytes | memoryview = b"") -> None:
        """All of both, or OSError/EOFError."""

    def recv(self, size: int, timeout: float) -> bytes | None:
        """Some bytes; b"" at the end; None when nothing came within `timeout` seconds."""

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Where what comes can be had as it comes, call `heard` with it from now on, in whatever thread; `recv` then
        only tells of the end."""

    def errors(self) -> str:
        """The tail of what the process wrote to stderr so far."""

    def finish(self) -> None:
        """Tell the other end that nothing more will come."""

    def close(self) -> None: ...


def pieces(data: bytes, body: bytes | memoryview, size: int) -> list[memoryview]:
    """Both, in pieces of `size` bytes at the most; they share one where one is enough."""
    first = max(0, size - len(data))
    whole = memoryview(data + body[:first])
    if len(whole) <= size and len(body) <= first:
        return [whole]
    return [
        view[at : at + size] for view in (whole, memoryview(body)[first:]) for at in range(0, len(view), size)
    ]


class AgentDidNotStart(Exception):
    """The pipe ended, or stayed silent, before the agent spoke. For the room that made the pipe."""

    def __init__(self, output: str, errors: str, timed_out: bool) -> None:
        super().__init__(errors or output or "no answer")
        self.output = output
        self.errors = errors
        self.timed_out = timed_out


class Exchange:
    """One request and what comes back for it."""

    def __init__(self, link: Link, number: int, what: str, heard: Callable[[], None] | None) -> None:
        self.number = number
        self._link = link
        self._what = what
        self._heard = heard
        self._frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()

    def add(self, frame: Frame | None) -> None:
        self._frames.put(frame)
        if self._heard:
            self._heard()

    def next(self, limit: float | None) -> Frame:
        """The next frame for this request. `limit`: a point of the monotonic clock. Raises TaskTimeout,
        ConnectionLost."""
        try:
            frame = self._wait(limit) if self._frames.empty() else self._frames.get()
        except queue.Empty:
            self.cancel()
            raise TaskTimeout(f"{self._link.host}: no answer to '{self._what}' in time") from None
        if frame is None:
            self.add(None)
            raise self._link.lost()
        return frame

    def _wait(self, limit: float | None) -> Frame | None:
        with DUTY.waited_for():
            return self._frames.get(timeout=None if limit is None else max(0.0, limit - time.monotonic()))

    def cancel(self) -> None:
        """Nobody waits for it any more: end what it runs on the node, forget its replies."""
        self._link.forget(self)
        try:
            self._link.post({"id": -2, "op": "cancel", "target": self.number})
            self._link.post({"id": self.number, "abort": True})
        except ConnectionLost:
            pass

    def done(self) -> None:
        self._link.forget(self)


class _Large:
    """A frame whose body is under way, kept as it comes: a buffer that grows would be copied again and again."""

    def __init__(self, header: Header, size: int) -> None:
        self.missing = size
        self._header = header
        self._pieces: list[bytes] = []

    def take(self, data: bytes) -> bytes:
        """What of the data is not its own."""
        own = data[: self.missing]
        self._pieces.append(own)
        self.missing -= len(own)
        return data[len(own) :]

    def frame(self) -> Frame:
        return self._header, b"".join(self._pieces)


class Link:
    """Frames over a pipe. Thread-safe. `round_trips` counts the requests sent."""

    def __init__(self, host: str, pipe: Pipe, *, timeout: float, received: bytes = b"") -> None:
        """Send the agent and wait for its greeting. `received`: what has been read from the pipe already.
        Raises AgentDidNotStart."""
        self.host = host
        self.round_trips = 0
        self._pipe = pipe
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._open: dict[int, Exchange] = {}
        self._reason: str | None = None
        self._heard = self._spoke = time.monotonic()
        self._buffer = bytearray(received)
        self._large: _Large | None = None
        self.hello = self._greet(timeout)
        self._pipe.listen(self._hear)
        self._reader = threading.Thread(target=self._read, name=f"labctl-{host}", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        return self._reason is None

    @property
    def idle(self) -> bool:
        """Whether it lives and nothing is under way, so that a small request is sent without a wait."""
        return self._reason is None and not self._open

    def lost(self) -> ConnectionLost:
        return ConnectionLost(f"{self.host}: {self._reason or 'the connection was closed'}")

    # ------------------------------------------------------------ starting

    def _greet(self, timeout: float) -> Header:
        until = time.monotonic() + timeout
        while (at := self._buffer.find(MAGIC)) < 0 or len(self._buffer) < at + len(MAGIC) + TAKEN:
            if len(self._buffer) > _NOISE:
                raise AgentDidNotStart(self._noise(), self._pipe.errors(), timed_out=False)
            self._fill(until)
        del self._buffer[: at + len(MAGIC)]
        taken = self._buffer[:TAKEN].decode(errors="replace")
        del self._buffer[:TAKEN]
        try:
            for part in split(bundle(taken)):
                self._pipe.send(part)
        except (OSError, EOFError):  # it has ended already: what it said is to be read
            pass
        while (frame := self._take_frame()) is None:
            self._fill(until)
        return {**frame[0], "code": taken}

    def _fill(self, until: float) -> None:
        data = self._pipe.recv(65536, max(0.0, until - time.monotonic()))
        if not data:
            raise AgentDidNotStart(self._noise(), self._pipe.errors(), timed_out=data is None)
        self._buffer += data

    def _noise(self) -> str:
        return bytes(self._buffer[:_NOISE]).decode(errors="replace").strip()

    # ------------------------------------------------------------ sending

    def request(self, header: Header, body: bytes = b"", heard: Callable[[], None] | None = None) -> Exchange:
        """`heard` is called, in whatever thread, for each frame that comes for it."""
        exchange = Exchange(self, next(self._numbers), header["op"], heard)
        with self._lock:
            if self._reason is not None:
                raise self.lost()
            self._open[exchange.number] = exchange
            self.round_trips += 1
        self.post({"id": exchange.number, **header}, body)
        return exchange

    def post(self, header: Header, body: bytes | memoryview = b"") -> None:
        """Send a frame that nobody waits for. Raises ConnectionLost."""
        text = encode(header).encode()
        head = struct.pack(">II", len(text), len(body)) + text
        try:
            with self._sending:
                if self._reason is not None:
                    raise self.lost()
                self._pipe.send(head, body)
                self._spoke = time.monotonic()
        except (OSError, EOFError, ValueError) as error:  # ValueError: closed meanwhile
            self._end(f"the connection was lost ({error or type(error).__name__})")
            raise self.lost() from None

    def forget(self, exchange: Exchange) -> None:
        with self._lock:
            self._open.pop(exchange.number, None)

    # ------------------------------------------------------------ receiving

    def _take_frame(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 8:
            return None
        head, tail = struct.unpack_from(">II", buffer)
        end = 8 + head + tail
        if len(buffer) < end:
            if tail > _LARGE and len(buffer) >= 8 + head:
                self._large = _Large(decode(bytes(buffer[8 : 8 + head])), tail)
                self._large.take(bytes(buffer[8 + head :]))
                buffer.clear()
            return None
        with memoryview(buffer) as view:
            text, body = bytes(view[8 : 8 + head]), bytes(view[8 + head : end])
        del buffer[:end]
        return decode(text), body

    def _read(self) -> None:
        reason = "the connection was lost"
        try:
            while self._reason is None:
                data = self._pipe.recv(_AT_ONCE, PING_EVERY)
                now = time.monotonic()
                if data == b"":
                    said = self._pipe.errors().strip().splitlines()
                    reason = f"the agent ended: {said[-1]}" if said else "the connection was lost"
                    break
                if data:
                    self._take(data)
                elif now - self._heard > SILENCE:
                    reason = f"no sign of life for {SILENCE:.0f} s"
                    break
                if now - self._spoke > PING_EVERY - 0.5:
                    self._ping()
        except Exception as error:  # whatever it is, those who wait must hear of it
            reason = f"the connection was lost ({error or type(error).__name__})"
        self._end(reason)

    def _hear(self, data: bytes) -> None:
        """In the thread that reads the connection, which must go on whatever the data are."""
        try:
            self._take(data)
        except Exception as error:
            reason = f"the connection was lost ({error or type(error).__name__})"
            threading.Thread(target=self._end, args=(reason,), daemon=True).start()

    def _take(self, data: bytes) -> None:
        self._heard = time.monotonic()
        if self._large:
            data = self._large.take(data)
            if self._large.missing:
                return
            self._dispatch(self._large.frame())
            self._large = None
        self._buffer += data
        while (frame := self._take_frame()) is not None:
            self._dispatch(frame)

    def _ping(self) -> None:
        # never wait here: whoever holds the lock is sending, which is as good as a ping
        if self._sending.acquire(blocking=False):
            try:
                text = b'{"id":0,"op":"ping"}'
                self._pipe.send(struct.pack(">II", len(text), 0) + text)
                self._spoke = time.monotonic()
            finally:
                self._sending.release()

    def _dispatch(self, frame: Frame) -> None:
        exchange = self._open.get(frame[0].get("id", -1))
        if exchange is not None:
            exchange.add(frame)

    def _end(self, reason: str) -> None:
        with self._lock:
            if self._reason is None:
                self._reason = reason
            waiting = list(self._open.values())
            self._open.clear()
        for exchange in waiting:
            exchange.add(None)
        self._pipe.close()

    # ------------------------------------------------------------ ending

    def finish(self) -> None:
        """Let the agent end: it kills what it still runs. `close` waits for that."""
        try:
            self._pipe.finish()
        except (OSError, EOFError):
            pass

    def close(self, patience: float = 5.0) -> None:
        self.finish()
        if threading.current_thread() is not self._reader:
            with DUTY.waited_for():
                self._reader.join(patience)
        self._end("the connection was closed")
