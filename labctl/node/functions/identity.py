"""Which machine this is, and since when it has been up."""

from __future__ import annotations

import os
from typing import Dict, Optional


def identity() -> Dict[str, Optional[str]]:
    """{"boot": the kernel's id of this start, "processes": the process namespace, "started": when the first process
    began, in clock ticks since the kernel's start}. A container that starts again keeps the kernel's id, unless it has
    one of its own; its first process is another."""
    return {"boot": _read("/proc/sys/kernel/random/boot_id"), "processes": _namespace(), "started": _first()}


def _read(path: str) -> Optional[str]:
    try:
        with open(path, errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return None


def _namespace() -> Optional[str]:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _first() -> Optional[str]:
    text = _read("/proc/1/stat")
    return text.rpartition(")")[2].split()[19] if text else None
