"""Values as the types a schema asks for, by Ansible's conversions; and both of them in words."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

_TRUE = frozenset({"yes", "on", "true", "t", "y", "1"})
_FALSE = frozenset({"no", "off", "false", "f", "n", "0"})


def to_bool(value: Any) -> bool:
    """Ansible's reading of a boolean: yes/no, on/off, true/false, 1/0. ValueError for anything else."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE or value == 1:
        return True
    if text in _FALSE or value == 0:
        return False
    raise ValueError(value)


def coerce(value: Any, kind: Any) -> Any:
    """`value` as the annotated type `kind`, by Ansible's conversions; TypeError or ValueError when it
    cannot be one."""
    if kind is Any:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, inner)
    if origin is Literal:
        return choice(value, inner)
    if kind is bool:
        return to_bool(value)
    if kind is int:
        if isinstance(value, bool):
            raise TypeError(value)
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return int(value)
    if kind is float:
        if isinstance(value, bool):
            raise TypeError(value)
        return float(value)
    if kind is str:
        if isinstance(value, list | dict) or value is None:
            raise TypeError(value)
        return str(value)
    if origin is list or kind is list:
        return _coerce_list(value, inner[0] if inner else Any)
    if origin is dict or kind is dict:
        if not isinstance(value, Mapping):
            raise TypeError(value)
        return dict(value)
    return value


def choice(value: Any, choices: Sequence[Any]) -> Any:
    """The one of `choices` that `value` names; ValueError when it is none. A boolean names the word that YAML
    read as one (`upgrade: yes`), when there is just one such word."""
    for each in choices:
        if str(each) == str(value):
            return each
    if isinstance(value, bool):
        words = [each for each in choices if str(each).lower() in (_TRUE if value else _FALSE)]
        if len(words) == 1:
            return words[0]
    raise ValueError(value)


def _coerce_union(value: Any, members: Sequence[Any]) -> Any:
    if value is None and type(None) in members:
        return None
    kinds = [member for member in members if member is not type(None)]
    for kind in kinds:
        if typing.get_origin(kind) is None and kind is not Any and type(value) is kind:
            return value
    for kind in kinds:
        try:
            return coerce(value, kind)
        except (TypeError, ValueError):
            continue
    raise TypeError(value)


def _coerce_list(value: Any, item: Any) -> list[Any]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")] if value else []
    elif isinstance(value, int | float):
        value = [value]
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return [coerce(entry, item) for entry in value]


def choices_of(kind: Any) -> tuple[Any, ...]:
    """The values an annotated type lists: `Literal[…]`, also in `Literal[…] | None`."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        return choices_of(members[0]) if len(members) == 1 else ()
    return ()


def type_name(kind: Any) -> str:
    """An annotated type as an error message names it: "an integer", "a list of strings"."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(member) for member in inner if member is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    names = {
        str: "a string",
        int: "an integer",
        float: "a number",
        bool: "a boolean",
        dict: "a mapping",
        list: "a list",
    }
    if origin is list and inner and inner[0] is not Any:
        return f"a list of {type_name(inner[0]).split(' ', 1)[-1]}s"
    return names.get(origin or kind, "any value")


def describe(value: Any) -> str:
    """A value with its type for an error message: "the string 'x'"."""
    if value is None:
        return "nothing"
    names = {str: "the string", bool: "the boolean", int: "the integer", float: "the number"}
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return f"{names[kind]} {str(value)!r}" if kind is str else f"{names[kind]} {value}"
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(value)
