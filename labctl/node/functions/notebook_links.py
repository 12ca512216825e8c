"""Talking to the programs in a notebook's pod (workloads/notebook) and watching its processes, from the node."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from typing import Any, Dict, Iterator, List, Optional

Values = Dict[str, Any]
_PIDFD_OPEN = 434  # the same on every architecture; Python has os.pidfd_open from 3.9 on


class NotebookError(Exception):
    """The notebook cannot be had: in a sentence."""


class Link:
    """A Unix socket with a JSON object a line, by its folder and name: the path may be longer than a socket's may."""

    def __init__(self, folder: str, name: str) -> None:
        self._begun = b""
        self._read: List[Values] = []
        self.socket = socket.socket(socket.AF_UNIX)
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            self.socket.connect("/proc/self/fd/%d/%s" % (descriptor, name))
        except OSError:
            self.socket.close()
            raise
        finally:
            os.close(descriptor)

    def __enter__(self) -> Link:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, **order: Any) -> None:
        self.socket.sendall(json.dumps(order).encode() + b"\n")

    def lines(self) -> List[Values]:
        """What has come; EOFError when the other side has gone and everything was read."""
        found, self._read = self._read, []
        if found:
            return found
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError("it has ended")
        *lines, self._begun = (self._begun + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def until(self, event: str, deadline: float) -> Values:
        """Wait for an event; others before it are dropped. TimeoutError, or EOFError."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no '%s' came in time" % event)
            self.socket.settimeout(left)
            try:
                came = self.lines()
            except socket.timeout:
                continue
            finally:
                self.socket.settimeout(None)
            for position, line in enumerate(came):
                if line["event"] == event:
                    self._read = came[position + 1 :]
                    return line


class Lines:
    """The other side of `Link`, for one peer: a socket that the load in the kernel connects to."""

    def __init__(self, folder: str, name: str) -> None:
        self.path = os.path.join(folder, name)
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self.listener = socket.socket(socket.AF_UNIX)
        try:
            forget(self.path)
            self.listener.bind("/proc/self/fd/%d/%s" % (descriptor, name))
            self.listener.listen(1)
        except OSError:
            self.listener.close()
            raise
        finally:
            os.close(descriptor)

    def __enter__(self) -> Lines:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        forget(self.path)

    def accept(self) -> Link:
        """The peer; it reads like a link."""
        peer = Link.__new__(Link)
        peer.socket, _ = self.listener.accept()
        peer._begun, peer._read = b"", []  # noqa: SLF001 - this is its constructor
        return peer


def forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


class Process:
    """A process that is not ours: whether it has ended, through its pidfd, which no other process can inherit."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.descriptor = pidfd(pid)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    @property
    def ended(self) -> bool:
        if self.descriptor < 0:
            return ended(self.pid)
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(0))


def ended(pid: int) -> bool:
    """Whether there is no such process, or only its zombie."""
    try:
        with open("/proc/%d/stat" % pid) as stream:
            return stream.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def pidfd(pid: int) -> int:
    """A descriptor that is readable when the process has ended; -1 where the kernel has none (before 5.3)."""
    try:
        if hasattr(os, "pidfd_open"):
            return os.pidfd_open(pid)
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.syscall(_PIDFD_OPEN, pid, 0)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return int(descriptor)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.ESRCH):
            return -1
        raise


def members(paths: Dict[str, str]) -> Iterator[int]:
    """The processes of a container, as this node numbers them."""
    folder = paths.get("unified") or paths.get("memory") or next(iter(paths.values()), None)
    if folder is None:
        return
    try:
        with open(os.path.join(folder, "cgroup.procs")) as stream:
            pids = [int(word) for word in stream.read().split()]
    except OSError:
        return
    yield from pids


def outside(paths: Dict[str, str], inner: int) -> Optional[int]:
    """This node's number of the process that a container calls `inner`."""
    for pid in members(paths):
        try:
            with open("/proc/%d/status" % pid) as stream:
                for line in stream:
                    if line.startswith("NSpid:") and int(line.split()[-1]) == inner:
                        return pid
        except OSError:
            continue
    return None
