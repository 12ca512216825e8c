"""JSON lines over a Unix socket: any number of peers, one poll loop, nobody waits for anybody."""

from __future__ import annotations

import json
import os
import socket
from typing import Any, Iterable, Iterator


class Server:
    """A socket that takes orders, a JSON object a line, and tells every peer what happens. `poller` is a zmq.Poller
    whose poll() says which descriptors have something."""

    def __init__(self, path: str, poller: Any) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        self._poller = poller
        self._peers: dict[int, tuple[socket.socket, bytes]] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(16)
        self._listener.setblocking(False)
        poller.register(self._listener.fileno(), 1)

    def orders(self, ready: Iterable[object]) -> Iterator[dict[str, Any]]:
        """The orders that came in on descriptors of `ready`."""
        if self._listener.fileno() in ready:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            peer.setblocking(False)
            self._peers[peer.fileno()] = (peer, b"")
            self._poller.register(peer.fileno(), 1)
        for descriptor in [one for one in self._peers if one in ready]:
            peer, begun = self._peers[descriptor]
            try:
                data = peer.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._drop(descriptor)
                continue
            *lines, begun = (begun + data).split(b"\n")
            self._peers[descriptor] = (peer, begun)
            for line in lines:
                yield json.loads(line)

    def tell(self, event: str, **values: Any) -> None:
        """One line to every peer; one that does not read is let go."""
        line = json.dumps({"event": event, **values}).encode() + b"\n"
        for descriptor, (peer, _) in list(self._peers.items()):
            try:
                if peer.send(line) == len(line):
                    continue
            except OSError:
                pass
            self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        peer, _ = self._peers.pop(descriptor)
        self._poller.unregister(descriptor)
        peer.close()
