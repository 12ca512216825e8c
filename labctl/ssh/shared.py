"""Packets that whoever waits for them may read: an agent's answers, while nothing else goes over its connection.

Paramiko has a thread for each connection that reads and handles its packets. Here that thread stands aside as long as
they are bytes of a channel; any other packet is handed to it, and it reads on until it has nothing more to handle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from labctl.node.duty import DUTY, POSSIBLE
from labctl.ssh.libraries import paramiko
from labctl.ssh.packets import Packets
from labctl.ssh.waiting import LOOK_UP

_CHANNEL_DATA = 94

Packet = tuple[int, paramiko.Message]


class Shared(Packets):
    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._transport: Any = None
        self._reading = Lock()
        self._state = Lock()
        self._aside = False  # the thread: others read
        self._kept = 0  # those who want it not to stand aside
        # For the thread: a packet, what ended the connection, work, or None to look again.
        self._handed: SimpleQueue[Packet | BaseException | Callable[[], None] | None] = SimpleQueue()

    def share(self, transport: Any) -> None:
        """What comes may be for an agent alone from now on, where this system lets one thread read for many."""
        if POSSIBLE:
            self._transport = transport

    @contextmanager
    def unshared(self) -> Iterator[None]:
        """The thread itself reads: what comes is not for an agent alone."""
        with self._state:
            self._kept += 1
        self._handed.put(None)
        try:
            yield
        finally:
            with self._state:
                self._kept -= 1

    def aside(self, work: Callable[[], None]) -> None:
        """Let the thread do it, if it is not this one that reads."""
        with self._state:
            if self._aside:
                self._handed.put(work)
                return
        work()

    def close(self) -> None:
        self._come_back()
        super().close()
        self._handed.put(EOFError())

    def read_message(self) -> Packet:
        while True:
            waits = self._may_stand_aside()
            self._stand_aside() if waits else self._come_back()
            try:
                handed = self._handed.get(timeout=LOOK_UP) if waits else self._handed.get_nowait()
            except Empty:
                if not waits:
                    break
                self._look_up()
                continue
            if isinstance(handed, BaseException):
                raise handed
            if isinstance(handed, tuple):
                return handed
            if handed is not None:
                handed()
        with self._reading:
            return super().read_message()

    def _may_stand_aside(self) -> bool:
        transport = self._transport
        return (
            transport is not None
            and self._in is not None
            and not self._kept
            and transport.clear_to_send.is_set()
            and len(transport._channels) == 1  # noqa: SLF001
            and (self._aside or self.is_there() != 0)
        )

    def _stand_aside(self) -> None:
        with self._state:
            if not self._aside:
                self._aside = True
                DUTY.add(self._sock.fileno(), self._ready)

    def _come_back(self) -> None:
        with self._state:
            if self._aside:
                self._aside = False
                DUTY.remove(self._sock.fileno())

    def _look_up(self) -> None:
        if self.closed:
            raise EOFError
        self._check_keepalive()  # type: ignore[attr-defined]
        if self.need_rekey():
            self._come_back()
            raise paramiko.packet.NeedRekeyException

    def _ready(self) -> None:
        """Read what is there, in whatever thread."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._sock.fill(self.is_there())
            while self._aside and not self.is_there():
                kind, message = super().read_message()
                if kind != _CHANNEL_DATA:
                    self._come_back()
                    self._handed.put((kind, message))
                elif channel := self._transport._channels.get(message.get_int()):  # noqa: SLF001
                    channel._feed(message)  # noqa: SLF001
        except TimeoutError:  # nothing was there
            pass
        except Exception as error:
            self._come_back()
            self._handed.put(error)
        finally:
            self._reading.release()
