"""A node's kernel parameters, and the files that set them."""

from __future__ import annotations

import os
from typing import Any, Dict


def parameter(name: str, path: str) -> Dict[str, Any]:
    """{"value": what holds now, or None, "text": the file's content, or None, "path": the file a link leads to}."""
    real = os.path.realpath(path)
    return {"value": _read(_place(name)), "text": _read(real), "path": real}


def _place(name: str) -> str:
    """In /proc/sys; a name with slashes may have dots of its own (net/ipv4/conf/eth0.1/…)."""
    first = next((sign for sign in name if sign in "./"), ".")
    swap = {".": "/", "/": "."} if first == "." else {}
    return "/proc/sys/" + "".join(swap.get(sign, sign) for sign in name)


def _read(path: str) -> Any:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except OSError:
        return None
    return text.strip() if path.startswith("/proc/sys/") else text
