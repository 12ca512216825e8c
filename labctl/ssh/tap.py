"""What comes over a channel, handed on by the thread that reads the connection.

Paramiko puts it into a buffer and wakes whoever waits there. For an agent's answers that is a change of threads too
many: the one that waits for the answer is another still."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labctl.ssh.libraries import paramiko

if TYPE_CHECKING:
    Buffer = paramiko.buffered_pipe.BufferedPipe[Any]
else:
    Buffer = paramiko.buffered_pipe.BufferedPipe


class Tap(Buffer):
    """In the place of a channel's `in_buffer`: as any other until somebody listens. It ends as any other, too."""

    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__()
        self._channel: Any = channel  # paramiko's own way of making room is private to it
        self._heard: Callable[[bytes], None] | None = None
        self._turn = threading.Lock()
        self._owed = 0  # bytes taken that the other end may send again, and does not know of

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Hand on what is there and what comes. `heard` must not wait for anything, nor raise."""
        with self._turn:
            if data := self.empty():
                heard(data)
                self._owed += len(data)
            self._heard = heard

    def feed(self, data: bytes) -> None:
        with self._turn:
            heard = self._heard
            if heard is None:
                super().feed(data)
                return
            self._owed += len(data)
            due = self._owed > self._channel.in_window_threshold
        heard(data)
        if due:  # sending may have to wait
            self._channel.transport.aside(self.make_room)

    def make_room(self) -> None:
        """Tell the other end how much more it may send. While keys are exchanged nothing may be told: the next call
        does."""
        transport = self._channel.transport
        if not self._owed or not transport.clear_to_send.is_set():
            return
        with self._turn:
            owed, self._owed = self._owed, 0
        if room := self._channel._check_add_window(owed):  # noqa: SLF001
            message = paramiko.Message()
            message.add_byte(paramiko.common.cMSG_CHANNEL_WINDOW_ADJUST)
            message.add_int(self._channel.remote_chanid)
            message.add_int(room)
            transport._send_user_message(message)  # noqa: SLF001
