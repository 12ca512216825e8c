"""In a worker: one thread that carries bytes between the controller's sockets and paramiko's channels.

It must never wait for one host. What would wait, because the host takes nothing more at the moment, is left to
a thread of that host's own until it has gone through."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial

from labctl.ssh.channel import ChannelPipe, free
from labctl.ssh.libraries import paramiko
from labctl.ssh.relay import ERRORS, OUTPUT, PIECE

STUCK = 5.0  # seconds the loop may be with one host until that one's transport is closed
_TURN = 16  # messages from one host before the others have theirs
_AGAIN = 0.05  # seconds until a host that takes nothing is looked at again


class Loop:
    """Thread-safe."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self._relays: dict[int, Relay] = {}
        self._calls: deque[Callable[[], None]] = deque()
        self._later: deque[tuple[float, Callable[[], None]]] = deque()
        self._awake = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self.epoll.register(self._woken, select.EPOLLIN)
        self._busy: tuple[float, Relay] | None = None
        threading.Thread(target=self._run, name="labctl-relay", daemon=True).start()

    def add(self, end: socket.socket, channel: paramiko.Channel) -> None:
        """Relay between the two until either is closed; both belong to the loop from now on."""
        relay = Relay(self, end, channel)

        def start() -> None:
            self._relays[end.fileno()] = relay
            relay.start()

        self.call(start)

    def call(self, what: Callable[[], None]) -> None:
        self._calls.append(what)
        if not self._awake:
            self._awake = True
            os.write(self._wake, b"\0")

    def later(self, what: Callable[[], None]) -> None:
        """In the loop's thread only."""
        self._later.append((time.monotonic() + _AGAIN, what))

    def forget(self, number: int) -> None:
        self._relays.pop(number, None)

    def free(self) -> None:
        """Close the transport the loop is stuck in, if it is: that frees everybody."""
        busy = self._busy
        if busy and time.monotonic() - busy[0] > STUCK:
            busy[1].transport.close()

    def enter(self, relay: Relay) -> None:
        self._busy = (time.monotonic(), relay)

    def _run(self) -> None:
        try:
            self._carry()
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # so that the controller hears of it

    def _carry(self) -> None:
        while True:
            timeout = max(0.0, self._later[0][0] - time.monotonic()) if self._later else -1
            for number, mask in self.epoll.poll(timeout):
                if number == self._woken:
                    os.read(self._woken, 4096)
                elif relay := self._relays.get(number):
                    relay.turn(mask)
            self._awake = False
            while self._calls:
                self._calls.popleft()()
            while self._later and self._later[0][0] <= time.monotonic():
                self._later.popleft()[1]()
            self._busy = None


class _Signal(threading.Event):
    """Paramiko's buffers set it when something has come, in the transport's thread."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay
        self.pending = False

    def set(self) -> None:
        if not self.pending:
            self.pending = True
            self._relay.loop.call(self._relay.from_node)

    def clear(self) -> None:
        pass


class Relay:
    """One channel and the controller's socket for it. Its methods are the loop's thread's, but for `_push`."""

    def __init__(self, loop: Loop, end: socket.socket, channel: paramiko.Channel) -> None:
        transport = channel.get_transport()
        assert transport is not None
        end.setblocking(False)
        channel.settimeout(1.0)  # a sender looks up so often
        self.loop = loop
        self.transport = transport
        self._end = end
        self._channel = channel
        self._pipe = ChannelPipe(channel)
        self._signal = _Signal(self)
        self._held: bytes | None = None  # for the controller, which is slow
        self._mask = select.EPOLLIN
        self._closed = False

    def start(self) -> None:
        self.loop.epoll.register(self._end, self._mask)
        self._channel.in_buffer.set_event(self._signal)
        self._channel.in_stderr_buffer.set_event(self._signal)

    def turn(self, mask: int) -> None:
        self.loop.enter(self)
        if mask & select.EPOLLOUT and self._held is not None:
            message, self._held = self._held, None
            self._watch(self._mask & ~select.EPOLLOUT)
            if self._give(message):
                self.from_node()
        if mask & select.EPOLLIN and not self._closed:
            self._from_controller()
        elif mask & (select.EPOLLHUP | select.EPOLLERR):
            self._close()

    def _watch(self, mask: int) -> None:
        self._mask = mask
        self.loop.epoll.modify(self._end, mask)

    # ------------------------------------------------------------ to the node

    def _from_controller(self) -> None:
        try:
            data = self._end.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        if not data:
            self._watch(self._mask & ~select.EPOLLIN)
            self._finish()
            return
        try:
            while data:
                if not (free(self.transport) and self._channel.send_ready()):
                    self._watch(self._mask & ~select.EPOLLIN)
                    self._aside(partial(self._push, data))
                    return
                sent = self._channel.send(data)
                if not sent:
                    return
                data = data[sent:]
        except (OSError, EOFError, paramiko.SSHException):
            return  # the channel is closed, and the controller hears of that below

    def _push(self, data: bytes) -> None:
        """In a thread of its own: send, and whatever comes meanwhile, as fast as the host takes it."""
        try:
            while data:
                self._pipe.send(data)
                data = self._end.recv(PIECE)
        except BlockingIOError:
            self.loop.call(self._resume)
            return
        except (OSError, EOFError, paramiko.SSHException):
            self._pipe.close()
            return
        self._pipe.finish()

    def _resume(self) -> None:
        if not self._closed:
            self._watch(self._mask | select.EPOLLIN)

    # ------------------------------------------------------------ to the controller

    def from_node(self) -> None:
        self.loop.enter(self)
        self._signal.pending = False
        if self._held is not None or self._closed:
            return
        if not free(self.transport):  # reading makes room for more, and says so to the host
            self._signal.pending = True
            self.loop.later(self.from_node)
            return
        channel = self._channel
        ended = channel.closed or channel.eof_received
        for _ in range(_TURN):
            if channel.recv_stderr_ready():
                message = ERRORS + channel.recv_stderr(PIECE)
            elif channel.recv_ready():
                message = OUTPUT + channel.recv(PIECE)
            else:
                break
            if not self._give(message):
                return
        else:
            self._signal.set()  # the others first
            return
        if ended:
            try:
                self._end.shutdown(socket.SHUT_WR)
            except OSError:
                self._close()

    def _give(self, message: bytes) -> bool:
        try:
            self._end.send(message)
        except BlockingIOError:
            self._held = message
            self._watch(self._mask | select.EPOLLOUT)
        except OSError:
            self._close()
        else:
            return True
        return False

    # ------------------------------------------------------------ ending

    def _finish(self) -> None:
        if free(self.transport):
            try:
                self._channel.shutdown_write()
            except (OSError, EOFError, paramiko.SSHException):
                pass
        else:
            self._aside(self._pipe.finish)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.loop.epoll.unregister(self._end)
        self.loop.forget(self._end.fileno())
        self._end.close()
        self._aside(self._pipe.close)

    @staticmethod
    def _aside(work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()
