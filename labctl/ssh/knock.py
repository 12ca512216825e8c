"""TCP connections that are opened before anybody speaks over them.

Sshd starts a process for each, which loads and greets: 10 ms of the 30 that a login costs a host's processor. Nothing
is asked of the host, and nothing sent to it."""

from __future__ import annotations

import errno
import select
import socket
import threading
import time

_STALE = 10.0  # seconds; sshd gives nobody for ever to log in
_open: dict[tuple[str, int], tuple[socket.socket, float]] = {}
_lock = threading.Lock()


def knock(address: str, port: int) -> None:
    """Begin to connect to an IP address, unless that is under way."""
    with _lock:
        if (address, port) in _open:
            return
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if sock.connect_ex((address, port)) in (0, errno.EINPROGRESS):
            _open[address, port] = sock, time.monotonic()
        else:
            sock.close()


def take(address: str, port: int, timeout: float) -> socket.socket | None:
    """The connection that was opened to there; None where there is none that can be used by now. `timeout` is for
    what is done with it."""
    with _lock:
        sock, began = _open.pop((address, port), (None, 0.0))
    if sock is None:
        return None
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    fresh = time.monotonic() - began < _STALE
    if not (fresh and poll.poll(0)) or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        sock.close()
        return None
    sock.settimeout(timeout)
    return sock


def leave() -> None:
    """Close those that nobody has taken."""
    with _lock:
        for sock, _began in _open.values():
            sock.close()
        _open.clear()
