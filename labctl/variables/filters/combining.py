"""`combine`: dicts laid over one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labctl.errors import VariableError, did_you_mean
from labctl.variables.filters.collections import flatten, type_name

_LIST_MERGES = ("replace", "keep", "append", "prepend", "append_rp", "prepend_rp")


def combine(*terms: Any, recursive: bool = False, list_merge: str = "replace") -> dict[Any, Any]:
    """Later dicts win. `recursive` merges dicts in dicts; `list_merge` says how two lists meet:
    replace, keep, append, prepend, append_rp, prepend_rp (the newer's items not twice)."""
    if list_merge not in _LIST_MERGES:
        hint = did_you_mean(list_merge, _LIST_MERGES)
        raise VariableError(f"combine: list_merge must be one of {', '.join(_LIST_MERGES)}", hint=hint)
    result: dict[Any, Any] = {}
    for term in flatten(list(terms)):
        if not isinstance(term, Mapping):
            raise VariableError(f"combine: needs dicts, not {type_name(term)}")
        result = _merge(result, term, recursive, list_merge) if result else dict(term)
    return result


def _merge(
    lower: Mapping[Any, Any], upper: Mapping[Any, Any], recursive: bool, list_merge: str
) -> dict[Any, Any]:
    result = dict(lower)
    for key, value in upper.items():
        old = result.get(key)
        if recursive and isinstance(old, Mapping) and isinstance(value, Mapping):
            result[key] = _merge(old, value, recursive, list_merge)
        elif isinstance(old, list) and isinstance(value, list):
            result[key] = _lists(list(old), list(value), list_merge)
        else:
            result[key] = value
    return result


def _lists(old: list[Any], new: list[Any], how: str) -> list[Any]:
    if how == "keep":
        return old
    if how == "append":
        return old + new
    if how == "prepend":
        return new + old
    if how == "append_rp":
        return [item for item in old if item not in new] + new
    if how == "prepend_rp":
        return new + [item for item in old if item not in new]
    return new


FILTERS: dict[str, Callable[..., Any]] = {"combine": combine}
