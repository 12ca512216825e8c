"""The stressors of a task, as they are written and as the program on the node takes them.

    {"cpu": "50%", "memory": {"size": "256Mi", "step": "32Mi"}}
    → {"cpu": {"workers": 0, "load": 0.5, "method": "integer"}, "memory": {"workers": 1, "size": 268435456, …}}

Sizes are Kubernetes quantities (256Mi, 256M = 256 000 000), rates are sizes a second, with or without /s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labctl.errors import PlaybookError, did_you_mean
from labctl.pods.quantity import quantity, size_bytes
from labctl.records import dataclass
from labctl.task_types import describe, to_bool

Read = Callable[[Any], Any]


def share(value: Any) -> float:
    """'50%' or 0.5 as 0.5. ValueError unless it is above 0 and at most 1."""
    text = str(value).strip()
    number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if isinstance(value, bool) or not 0 < number <= 1:
        raise ValueError(value)
    return number


def size(value: Any) -> int:
    """A number of bytes, 1 or more. ValueError."""
    found = size_bytes(value)
    if found < 1:
        raise ValueError(value)
    return found


def rate(value: Any) -> int:
    """Bytes a second: 10M, 10M/s. ValueError."""
    return size(value.strip().removesuffix("/s") if isinstance(value, str) else value)


def count(value: Any) -> int:
    """A whole number, 1 or more. ValueError."""
    number = quantity(value)
    if number < 1 or number != int(number):
        raise ValueError(value)
    return int(number)


def seconds(value: Any) -> float:
    found = float(value)
    if not 0 <= found < float("inf"):
        raise ValueError(value)
    return found


def as_many_as(value: Any) -> int | None:
    """'max' as None: until the kernel refuses. ValueError."""
    return None if str(value) == "max" else count(value)


def method(value: Any) -> str:
    if value not in ("integer", "matrix"):
        raise ValueError(value)
    return str(value)


def folder(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(value)
    return value.rstrip("/") or "/"


def name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(value)
    return value


_WORDS: dict[Read, str] = {
    share: "a share such as 50%",
    size: "a size such as 256Mi",
    rate: "bytes a second such as 10M",
    count: "a whole number of 1 or more",
    seconds: "seconds",
    as_many_as: "a number, or max: until the kernel refuses",
    method: "one of integer, matrix",
    folder: "an absolute path",
    name: "the name of a host",
    to_bool: "a boolean",
}
_NEEDED = object()


@dataclass(frozen=True)
class _Kind:
    """A stressor's options as {name: (how it is read, default)}; `short` is the one that a bare value means."""

    short: str
    options: Mapping[str, tuple[Read, Any]]


# Workers of cpu: 0 stands for one on each processor that the node has.
KINDS = {
    "cpu": _Kind("load", {"load": (share, 1.0), "workers": (count, 0), "method": (method, "integer")}),
    "memory": _Kind(
        "size",
        {"size": (size, _NEEDED), "workers": (count, 1), "step": (size, None), "every": (seconds, 0.0)},
    ),
    "disk": _Kind(
        "size",
        {
            "size": (size, 64 << 20),
            "workers": (count, 1),
            "path": (folder, "/var/tmp"),  # noqa: S108 - its files have no names
            "block": (size, 1 << 20),
            "direct": (to_bool, False),
            "fsync": (to_bool, True),
            "verify": (to_bool, True),
            "rate": (rate, None),
        },
    ),
    "network": _Kind(
        "to",
        {"to": (name, _NEEDED), "workers": (count, 1), "address": (name, None), "rate": (rate, None)},
    ),
    "pids": _Kind("count", {"count": (as_many_as, _NEEDED), "workers": (count, 1)}),
    "fds": _Kind("count", {"count": (as_many_as, _NEEDED), "workers": (count, 1)}),
}
# What stress-ng has no word for, or counts otherwise.
_OWN_ONLY = {"memory": ("step", "every")}


def plan_of(asked: Mapping[str, Any], engine: str = "own") -> dict[str, dict[str, Any]]:
    """The program's plan for the stressors of a task. PlaybookError names the option and what it takes."""
    plan = {kind: _options(kind, value) for kind, value in asked.items()}
    if engine == "stress-ng":
        for kind, options in asked.items():
            if kind not in ("cpu", "memory"):
                raise PlaybookError(f"the engine stress-ng is for cpu and memory here, not for {kind}")
            for option in _OWN_ONLY.get(kind, ()):
                if isinstance(options, Mapping) and option in options:
                    raise PlaybookError(f"'{option}' of '{kind}' is for the engine own, not for stress-ng")
    if (disk := plan.get("disk")) and disk["direct"] and (disk["block"] % 4096 or disk["size"] % 4096):
        raise PlaybookError("'direct' of 'disk' needs 'size' and 'block' to be multiples of 4Ki")
    return plan


def _options(kind: str, value: Any) -> dict[str, Any]:
    known = KINDS[kind]
    given = value if isinstance(value, Mapping) else {} if value in (True, None) else {known.short: value}
    for option in given:
        if option not in known.options:
            hint = did_you_mean(str(option), known.options) or f"its options: {', '.join(known.options)}"
            raise PlaybookError(f"'{kind}' has no option '{option}'", hint=hint)
    found = {}
    for option, (read, default) in known.options.items():
        if given.get(option) is None:
            if default is _NEEDED:
                raise PlaybookError(f"'{kind}' needs '{option}', {_WORDS[read]}")
            found[option] = default
            continue
        try:
            found[option] = read(given[option])
        except (TypeError, ValueError, ArithmeticError):
            said = describe(given[option])
            raise PlaybookError(f"'{option}' of '{kind}' must be {_WORDS[read]}, not {said}") from None
    return found
