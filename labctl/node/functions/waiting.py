"""Waits on a node, in one call: for a port, a path, a text, or the end of connections."""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from typing import Any, Dict, Optional, Sequence

from labctl.node.functions import paths

Answer = Dict[str, Any]

_ACTIVE = ("01", "02", "03", "04", "05", "06")  # of a connection, as the kernel numbers them


def wait_for(  # noqa: PLR0917
    host: str = "127.0.0.1",
    port: Optional[int] = None,
    path: str = "",
    search_regex: Optional[str] = None,
    state: str = "started",
    timeout: float = 300.0,
    delay: float = 0.0,
    sleep: float = 1.0,
    connect_timeout: float = 5.0,
    exclude_hosts: Sequence[str] = (),
    states: Sequence[str] = _ACTIVE,
) -> Answer:
    """{"reached", "elapsed", "match_groups", "match_groupdict", "detail", "about": the path's owner, mode …}; `detail` says what was seen last. With
    `timeout` 0 (a dry run) it looks once, and that look may take all of `connect_timeout`: a server under load
    needs time to say its first words."""
    begun = time.monotonic()
    until = begun + timeout
    path = os.path.expanduser(os.path.expandvars(path))
    pattern = re.compile(search_regex.encode(), re.MULTILINE) if search_regex else None
    if delay:
        time.sleep(min(delay, timeout))
    while True:
        left = max(0.05, until - time.monotonic()) if timeout > 0 else connect_timeout
        if port is not None:
            answer = _port(host, port, state, pattern, min(connect_timeout, left), exclude_hosts, states)
        else:
            answer = _path(path, state, pattern)
        now = time.monotonic()
        if answer["reached"] or now >= until:
            answer["elapsed"] = now - begun
            answer["about"] = paths.about(path) if path and port is None else {}
            return answer
        time.sleep(min(sleep, until - now))


def _answer(reached: bool, detail: str, found: Optional[re.Match[bytes]] = None) -> Answer:
    groups = [_text(group) for group in found.groups()] if found else []
    named = {name: _text(group) for name, group in found.groupdict().items()} if found else {}
    return {"reached": reached, "detail": detail, "match_groups": groups, "match_groupdict": named}


def _text(group: Optional[bytes]) -> Optional[str]:
    return None if group is None else group.decode(errors="replace")


def _path(path: str, state: str, pattern: Optional[re.Pattern[bytes]]) -> Answer:
    there = os.path.lexists(path)
    if state in ("absent", "stopped"):
        if there and pattern:
            found = _search(path, pattern)
            return _answer(found is None, "the text is still in %s" % path)
        return _answer(not there, "%s is still there" % path)
    if not there:
        return _answer(False, "%s is not there" % path)
    if not pattern:
        return _answer(True, "%s is there" % path)
    found = _search(path, pattern)
    return _answer(found is not None, "%s does not hold the text" % path, found)


def _search(path: str, pattern: re.Pattern[bytes]) -> Optional[re.Match[bytes]]:
    try:
        with open(path, "rb") as stream:
            return pattern.search(stream.read())
    except OSError:
        return None


def _port(  # noqa: PLR0917
    host: str,
    port: int,
    state: str,
    pattern: Optional[re.Pattern[bytes]],
    timeout: float,
    exclude_hosts: Sequence[str],
    states: Sequence[str],
) -> Answer:
    if state == "drained":
        count = connections(host, port, exclude_hosts, states)
        return _answer(count == 0, "%d connections to port %d" % (count, port))
    try:
        connection = socket.create_connection((host, port), timeout)
    except OSError as error:
        reason = str(error) if error.errno is None else os.strerror(error.errno)
        return _answer(state in ("absent", "stopped"), "%s:%d: %s" % (host, port, reason))
    with connection:
        if state in ("absent", "stopped"):
            return _answer(False, "%s:%d still answers" % (host, port))
        if not pattern:
            return _answer(True, "%s:%d answers" % (host, port))
        return _listen(connection, pattern, timeout, "%s:%d" % (host, port))


def _listen(connection: socket.socket, pattern: re.Pattern[bytes], timeout: float, name: str) -> Answer:
    until = time.monotonic() + timeout
    data = b""
    while True:
        found = pattern.search(data)
        if found:
            return _answer(True, "%s said it" % name, found)
        left = until - time.monotonic()
        if left <= 0 or len(data) > 1 << 20:
            break
        connection.settimeout(left)
        try:
            piece = connection.recv(4096)
        except OSError:
            break
        if not piece:
            break
        data += piece
    return _answer(False, "%s answers, but did not say it" % name)


def connections(
    host: str, port: int, exclude_hosts: Sequence[str] = (), states: Sequence[str] = _ACTIVE
) -> int:
    """How many TCP connections in these states have this local port (and address, unless it is 0.0.0.0 or ::)."""
    count = 0
    excluded = {_resolved(name) for name in exclude_hosts}
    address = _resolved(host)
    for name, family in (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6)):
        try:
            with open(name) as stream:
                lines = stream.read().splitlines()[1:]
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue
            raise
        for line in lines:
            fields = line.split()
            local, local_port = _endpoint(fields[1], family)
            remote, _ = _endpoint(fields[2], family)
            if local_port != port or fields[3] not in states or remote in excluded:
                continue
            if address in ("0.0.0.0", "::", local):
                count += 1
    return count


def _endpoint(text: str, family: int) -> tuple[str, int]:
    address, port = text.split(":")
    raw = bytes.fromhex(address)
    words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
    name = socket.inet_ntop(family, b"".join(words))
    mapped = "::ffff:"
    return name[len(mapped) :] if name.startswith(mapped) else name, int(port, 16)


def _resolved(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except OSError:
        return host
