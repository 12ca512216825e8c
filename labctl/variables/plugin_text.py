"""Text and bytes, converted as plugins ask it by Ansible's names."""

from __future__ import annotations

from typing import Any

_HANDLERS = {
    None: "surrogateescape",
    "surrogate_or_strict": "surrogateescape",
    "surrogate_or_replace": "surrogateescape",
    "surrogate_then_replace": "surrogateescape",
}


def to_text(
    obj: Any, encoding: str = "utf-8", errors: str | None = None, nonstring: str = "simplerepr"
) -> Any:
    """`nonstring`: simplerepr, passthru, empty or strict, for what is neither text nor bytes."""
    if isinstance(obj, str):
        return obj
    if isinstance(obj, bytes):
        return obj.decode(encoding, _HANDLERS.get(errors, errors or "strict"))
    return _other(obj, nonstring, "")


def to_bytes(
    obj: Any, encoding: str = "utf-8", errors: str | None = None, nonstring: str = "simplerepr"
) -> Any:
    if isinstance(obj, bytes):
        return obj
    if isinstance(obj, str):
        return obj.encode(encoding, _HANDLERS.get(errors, errors or "strict"))
    found = _other(obj, nonstring, b"")
    return found.encode(encoding) if isinstance(found, str) else found


def _other(obj: Any, nonstring: str, empty: Any) -> Any:
    if nonstring == "passthru":
        return obj
    if nonstring == "empty":
        return empty
    if nonstring == "strict":
        raise TypeError("obj must be a string type")
    return str(obj)


to_native = to_text
