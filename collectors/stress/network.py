"""Stressor of the network: a source sends bytes over TCP to a sink on another node, which counts what comes.

The sink takes connections that begin with its token, and drops all others.
"""

from __future__ import annotations

import hmac
import os
import select
import selectors
import signal
import socket
import time

from stress.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stress.board import Slot

PIECE = 64 << 10
TOKEN_BYTES = 32
PATIENCE = 10.0  # seconds without a byte going out before the other side counts as gone


class Source:
    """One connection of the stressor `network`; `to` is [address, port]."""

    unit = "bytes sent"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.to = tuple(options["to"])
        self.token = bytes.fromhex(options["token"])
        self.pace = Pace(options["rate"])
        self.counting = self.leaving = False

    def run(self, alive: Callable[[], bool]) -> None:
        signal.signal(signal.SIGTERM, self._leave)
        noise = memoryview(os.urandom(PIECE))
        try:
            with socket.create_connection(self.to, PATIENCE) as stream:
                stream.sendall(self.token)
                stream.setblocking(False)
                poll = select.poll()
                poll.register(stream, select.POLLOUT)
                while alive():
                    if sent := self._send(stream, noise):
                        self.pace.wait(sent)
                    elif not poll.poll(PATIENCE * 1000):
                        raise socket.timeout("timed out")
        except OSError as error:
            self.slot.fail(error, "connection to %s port %d" % self.to)
            raise SystemExit(3) from None

    def _send(self, stream: socket.socket, data: memoryview) -> int:
        """Send what there is room for, and count it: ended between the two, less would be told than came."""
        self.counting = True
        try:
            sent = stream.send(data)
            self.slot.put(work=sent)
        except BlockingIOError:
            sent = 0
        self.counting = False
        if self.leaving:
            self._leave()
        return sent

    def _leave(self, *_: object) -> None:
        self.leaving = True
        if not self.counting:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


class Sink:
    """Where sources of other nodes send to. It listens before the work begins, and says on which port."""

    unit = "bytes received"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.token = bytes.fromhex(options["token"])
        family = socket.AF_INET6 if ":" in options["address"] else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind((options["address"], 0))
        self.listener.listen(64)
        slot.tell(port=self.listener.getsockname()[1])

    def run(self, alive: Callable[[], bool]) -> None:
        buffer = bytearray(PIECE)
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            while alive():
                for key, _ in selector.select(0.25):
                    if key.fileobj is self.listener:
                        self._welcome(selector)
                        continue
                    try:
                        got = key.fileobj.recv_into(buffer)  # type: ignore[union-attr]
                    except OSError:
                        got = 0
                    if got:
                        self.slot.put(work=got, checked=got)
                    else:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()  # type: ignore[union-attr]

    def _welcome(self, selector: selectors.BaseSelector) -> None:
        stream, _ = self.listener.accept()
        stream.settimeout(1.0)
        said, until = b"", time.monotonic() + 1.0
        try:
            while len(said) < TOKEN_BYTES and time.monotonic() < until:
                data = stream.recv(TOKEN_BYTES - len(said))
                if not data:
                    break
                said += data
        except OSError:
            said = b""
        if hmac.compare_digest(said, self.token):
            selector.register(stream, selectors.EVENT_READ)
        else:
            stream.close()
