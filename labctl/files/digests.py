"""Digests of large local files: each read once for all the hosts it goes to."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

_BLOCK = 256 << 10  # bytes: what a processor's own cache holds
_SETTLED = 2_000_000_000  # nanoseconds: a file system may tell two changes apart by no less
_State = tuple[str, int, int, int, int, int]


class _File:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[str, str] = {}


_files: dict[_State, _File] = {}


def digests(path: Path, *algorithms: str) -> list[str]:
    """The hex digests of a file, which is read at most once for all of them, and not again while it stays as it
    is. ValueError for an algorithm that this machine's policy forbids, OSError."""
    state, settled = _state(path)
    file = _files.setdefault(state, _File()) if settled else _File()
    with file.lock:
        missing = [name for name in algorithms if name not in file.known]
        if missing:
            file.known.update(zip(missing, _read(path, missing), strict=True))
        return [file.known[name] for name in algorithms]


def _state(path: Path) -> tuple[_State, bool]:
    """What differs when a file has changed, and whether it would: not so just after a change."""
    info = os.stat(path)
    state = (str(path), info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return state, time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) > _SETTLED


def _read(path: Path, algorithms: list[str]) -> list[str]:
    found = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    block = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as stream:
        while size := stream.readinto(block):
            for digest in found:
                digest.update(block[:size])
    return [digest.hexdigest() for digest in found]
