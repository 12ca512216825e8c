"""Asks a container's shim how its first process is.

`ctr` tells an exit code only by removing the task, and never the time of the exit. The shim knows both:
it is asked over ttrpc (containerd's gRPC for small machines) on its socket, as containerd itself does.
Protocol: github.com/containerd/ttrpc PROTOCOL.md; service containerd.task.v2 (containerd 1.x), v3 (2.x).
"""

import os
import signal
import socket
import struct
import time
from typing import Any, Dict, List, Optional, Tuple

STATE = "/run/containerd/io.containerd.runtime.v2.task"
STATUS = {1: "created", 2: "running", 3: "stopped", 4: "paused", 5: "paused"}
_UNIMPLEMENTED = 12


class ShimGone(Exception):
    """There is no shim, or it does not answer: the container's end was not seen."""


def state(namespace: str, container: str, timeout: float = 2.0) -> Optional[Dict[str, Any]]:
    """{"status", "pid", "exit_code", "finished_at"} of a container's task; None when it has none.

    status: created, running, paused, stopped. finished_at: seconds since the epoch, None while it runs."""
    try:
        with open(os.path.join(STATE, namespace, container, "address")) as stream:
            address = stream.read().strip()
    except OSError:
        return None
    request = _text(1, container)
    for service in ("containerd.task.v2.Task", "containerd.task.v3.Task"):
        code, words, payload = _call(address, service, "State", request, timeout)
        if code != _UNIMPLEMENTED:
            break
    if code:
        raise ShimGone(words or "status %d" % code)
    told = fields(payload)
    seconds = None
    if 10 in told:
        moment = fields(told[10])
        seconds = moment.get(1, 0) + moment.get(2, 0) / 1e9
    stopped = told.get(4) == 3
    return {
        "status": STATUS.get(told.get(4, 0), "unknown"),
        "pid": told.get(3),
        "exit_code": told.get(9, 0) if stopped else None,
        "finished_at": seconds if stopped and seconds and seconds > 0 else None,
    }


def known(namespace: str, prefix: str) -> List[str]:
    """Ids of the containers that have a task, as containerd's folders tell, half-removed ones included."""
    try:
        return [name for name in os.listdir(os.path.join(STATE, namespace)) if name.startswith(prefix)]
    except FileNotFoundError:
        return []


def end(namespace: str, container: str, timeout: float = 10.0) -> None:
    """Kill the shim of a task that containerd cannot remove (whoever removed it was killed half-way), and wait
    until containerd has cleaned up after it. ShimGone when it does not."""
    marks = (b"-namespace\0" + namespace.encode() + b"\0", b"-id\0" + container.encode() + b"\0")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as stream:
                words = stream.read()
            if b"containerd-shim" in words.split(b"\0")[0] and all(mark in words for mark in marks):
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            continue
    deadline = time.monotonic() + timeout
    while os.path.exists(os.path.join(STATE, namespace, container)):
        if time.monotonic() > deadline:
            raise ShimGone("containerd did not clean up task %s within %g s" % (container, timeout))
        time.sleep(0.02)


def _call(address: str, service: str, method: str, payload: bytes, timeout: float) -> Tuple[int, str, bytes]:
    """(status code, message, response bytes) of one unary call."""
    body = _text(1, service) + _text(2, method) + _bytes(3, payload) + b"\x20" + _varint(int(timeout * 1e9))
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(timeout)
        try:
            # Python 3.8 has no removeprefix
            path = address[7:] if address.startswith("unix://") else address
            link.connect(path if path.startswith("/") else "\0" + path.lstrip("@"))
            link.sendall(struct.pack(">IIBB", len(body), 1, 1, 0) + body)
            length = struct.unpack(">IIBB", _exactly(link, 10))[0]
            response = fields(_exactly(link, length))
        except (OSError, EOFError, ValueError) as error:
            raise ShimGone("the shim does not answer: %s" % error) from None
    status = fields(response.get(1, b""))
    return status.get(1, 0), status.get(2, b"").decode(errors="replace"), response.get(2, b"")


def _exactly(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            raise EOFError("connection closed")
        data += piece
    return data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def fields(data: bytes) -> Dict[int, Any]:
    """Protobuf fields by number: integers for varints, bytes for messages and strings (the last one wins)."""
    found: Dict[int, Any] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    try:
        while at < len(data):
            key = varint()
            kind = key & 7
            if kind == 0:
                found[key >> 3] = varint()
            elif kind == 2:
                size = varint()
                found[key >> 3] = data[at : at + size]
                at += size
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                raise ValueError("not protobuf")
    except IndexError:
        raise ValueError("cut short") from None
    return found
