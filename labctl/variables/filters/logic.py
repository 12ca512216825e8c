"""Filters that choose: default, mandatory, bool, ternary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labctl.errors import UndefinedVariable
from labctl.variables.lazy import LazyDict, LazyList
from labctl.variables.undefined import Undefined, is_undefined
from labctl.variables.unknown import Unknown


def default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    if type(value) is Unknown:
        return value
    return default_value if is_undefined(value) or (boolean and not value) else value


def mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, Undefined):
        raise UndefinedVariable(msg or f"mandatory: {value.problem()}")
    return value


def undef(hint: str | None = None) -> Undefined:
    """The function `undef(hint='…')`: a value that must be set elsewhere."""
    return Undefined(hint=hint or "mandatory variable has not been overridden")


_TRUE = frozenset({"yes", "on", "true", "1"})


def to_bool(value: Any) -> bool:
    """yes, on, true and 1 are true, in any case; everything else is false."""
    return str(value).lower() in _TRUE if isinstance(value, str | int) else value == 1


def ternary(value: Any, true_val: Any, false_val: Any, none_val: Any = None) -> Any:
    if value is None and none_val is not None:
        return none_val
    return true_val if value else false_val


def type_debug(value: Any) -> str:
    if isinstance(value, LazyDict | LazyList):
        return "dict" if isinstance(value, LazyDict) else "list"
    return "str" if isinstance(value, str) else type(value).__name__


FILTERS: dict[str, Callable[..., Any]] = {
    "default": default,
    "d": default,
    "mandatory": mandatory,
    "bool": to_bool,
    "ternary": ternary,
    "type_debug": type_debug,
}
