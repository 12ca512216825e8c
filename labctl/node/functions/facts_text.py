"""How the facts modules read: small files, and programs that answer while other facts are read."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any, Dict, List, Optional, Tuple

PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def content(path: str) -> Optional[str]:
    """A file's text without its outer white space; None when it cannot be read or is empty."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip() or None
    except OSError:
        return None


def text(path: str, default: str = "") -> str:
    return content(path) or default


def lines(path: str) -> List[str]:
    return text(path).splitlines()


def program(name: str) -> Optional[str]:
    """Where a program is, searched as a system service would."""
    found = (os.path.join(place, name) for place in PLACES)
    return next((path for path in found if os.access(path, os.X_OK)), None)


class Programs:
    """Programs started all at once; their answers are asked for later, within one deadline."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._running: Dict[str, subprocess.Popen[str]] = {}

    def start(self, key: str, argv: List[str]) -> None:
        """Start a program under a key of the caller's; a program that is not there is left out."""
        path = program(argv[0])
        if path is None:
            return
        environment = dict(os.environ, LANG="C.UTF-8", LC_ALL="C.UTF-8")
        self._running[key] = subprocess.Popen(
            [path, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            errors="replace",
            env=environment,
        )

    def said(self, key: str) -> Optional[Tuple[int, str]]:
        """Exit status and output; None when it is not installed, did not answer in time, or was never started."""
        process = self._running.pop(key, None)
        if process is None:
            return None
        try:
            output, _ = process.communicate(timeout=max(0.05, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None
        return process.returncode, output

    def close(self) -> None:
        """End those nobody asked."""
        for process in self._running.values():
            process.kill()
            process.communicate()
        self._running.clear()


def human(size: float) -> str:
    """Bytes as Ansible writes them: '256.00 GB', '0.00 Bytes'."""
    for suffix, limit in (
        ("YB", 80),
        ("ZB", 70),
        ("EB", 60),
        ("PB", 50),
        ("TB", 40),
        ("GB", 30),
        ("MB", 20),
        ("KB", 10),
    ):
        if size >= 1 << limit:
            return "%.2f %s" % (size / (1 << limit), suffix)
    return "%.2f Bytes" % size


Facts = Dict[str, Any]
