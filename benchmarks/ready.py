"""What is done before each run, so that no tool pays for the one before it."""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from benchmarks.fleet import ROOT

_LOADED = (".pyc", ".so")
_NEVER_LOADED = ("test", "tests", "idlelib", "lib2to3", "tkinter", "pip", "mypy", "ruff", "babel")
_QUIET = 5.0  # percent of the processors' time at work, at most
_PATIENCE = 20.0  # seconds


def get_ready(peers: Path) -> None:
    """`peers` is the folder of their environment."""
    _wait_until_quiet()
    _read(loaded_by_all(peers))


def _wait_until_quiet() -> None:
    """Until what the run before has left, its sessions' ends above all, is done; or the machine is busy by itself."""
    until = time.monotonic() + _PATIENCE
    while psutil.cpu_percent(0.2) > _QUIET and time.monotonic() < until:
        pass


def loaded_by_all(peers: Path) -> Iterable[Path]:
    """What the tools load. A kernel that takes back idle memory would have the tool that waited longest read its
    disk."""
    own = [ROOT / ".venv", ROOT / "labctl", ROOT / "tasks", peers]
    for folder in [*own, Path(sysconfig.get_path("stdlib")), *Path("/usr/lib").glob("python3.*")]:
        for place, folders, names in os.walk(folder):
            never = _NEVER_LOADED if folder in own else (*_NEVER_LOADED, "site-packages")
            folders[:] = [name for name in folders if name not in never]
            yield from (Path(place, name) for name in names if name.endswith(_LOADED))
    yield from (Path(sys.executable), Path("/usr/bin/python3"), Path("/usr/sbin/sshd"), Path("/bin/bash"))


def _read(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            with path.open("rb", buffering=0) as stream:
                while stream.read(1 << 20):
                    pass
        except OSError:
            continue
