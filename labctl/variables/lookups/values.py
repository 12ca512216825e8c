"""Lookups over values: items, dict, nested, sequence, vars, env …"""

from __future__ import annotations

import itertools
import os
import random
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from jinja2.utils import missing

from labctl.errors import UndefinedVariable, VariableError, did_you_mean
from labctl.variables.filters.collections import dict2items, flatten
from labctl.variables.lazy import plain

if TYPE_CHECKING:
    from labctl.variables.scope import Scope


Lookup = Callable[..., list[Any]]
"""`lookup(scope, terms, **options)`: the values found, in order."""


def env(_scope: Scope, terms: list[Any], *, default: Any = "") -> list[Any]:
    return [os.environ.get(name, default) for term in terms for name in str(term).split()[:1]]


def items(_scope: Scope, terms: list[Any]) -> list[Any]:
    return flatten(terms, levels=1, skip_nulls=False)


def as_list(_scope: Scope, terms: list[Any]) -> list[Any]:
    return terms


def flattened(_scope: Scope, terms: list[Any]) -> list[Any]:
    return flatten(terms)


def dictionary(_scope: Scope, terms: list[Any]) -> list[Any]:
    return [item for term in terms for item in dict2items(term)]


def indexed_items(scope: Scope, terms: list[Any]) -> list[Any]:
    return [[index, item] for index, item in enumerate(items(scope, terms))]


def nested(_scope: Scope, terms: list[Any]) -> list[Any]:
    if not terms:
        raise VariableError("needs at least one list")
    lists: Iterable[Iterable[Any]] = (term if isinstance(term, Iterable) else [term] for term in terms)
    return [flatten(list(row), levels=1, skip_nulls=False) for row in itertools.product(*lists)]


def together(_scope: Scope, terms: list[Any]) -> list[Any]:
    if not terms:
        raise VariableError("needs at least one list")
    lists = (term if isinstance(term, Iterable) else [term] for term in terms)
    return [list(row) for row in itertools.zip_longest(*lists)]


def subelements(_scope: Scope, terms: list[Any], *, skip_missing: Any = False) -> list[Any]:
    if not 2 <= len(terms) <= 3 or not isinstance(terms[1], str):
        raise VariableError(
            "needs a list or dict, and the name of a key", hint="query('subelements', users, 'keys')"
        )
    skip = bool(terms[2].get("skip_missing", skip_missing)) if len(terms) == 3 else bool(skip_missing)
    items = plain(terms[0])
    if isinstance(items, dict):
        items = [] if items.get("skipped") else list(items.values())
    found: list[Any] = []
    for item in items:
        if not isinstance(item, dict):
            raise VariableError(f"expects dictionaries, not {type(item).__name__}")
        if not item.get("skipped"):
            found += [(item, each) for each in _taken(item, terms[1].split("."), skip)]
    return found


def _taken(item: dict[str, Any], keys: list[str], skip: bool) -> list[Any]:
    """The list at the end of a path of keys, taken out of its item. `skip`: what is missing on the way, or
    leads nowhere, is no error."""
    *above, last = keys
    place = item
    for key in above:
        below = place.get(key)
        if isinstance(below, dict):
            place = below
        elif not skip:
            what = f"'{key}' should point to a dictionary, not {type(below).__name__}"
            raise VariableError(what if key in place else f"there is no key '{key}' in an item")
    if last not in place:
        if skip:
            return []
        raise VariableError(f"there is no key '{last}' in an item", hint="skip_missing: true passes over it")
    if not isinstance(place[last], list):
        raise VariableError(f"'{last}' should point to a list, not {type(place[last]).__name__}")
    taken: list[Any] = place.pop(last)
    return taken


def random_choice(_scope: Scope, terms: list[Any]) -> list[Any]:
    return [random.SystemRandom().choice(terms)] if terms else []


def variables(scope: Scope, terms: list[Any], *, default: Any = missing) -> list[Any]:
    found = []
    for term in terms:
        value = scope.find(str(term))
        if value is missing and default is missing:
            raise UndefinedVariable(f"'{term}' is undefined", hint=did_you_mean(str(term), scope.names()))
        found.append(default if value is missing else value)
    return found


def variable_names(scope: Scope, terms: list[Any]) -> list[Any]:
    return [name for term in terms for name in scope.names() if re.search(str(term), name)]


_NUMBER = r"0?x?[0-9a-f]+"
_SHORT = re.compile(
    rf"(?:(?P<start>{_NUMBER})-)?(?P<end>{_NUMBER})(?:/(?P<stride>{_NUMBER}))?(?::(?P<format>.+))?",
    re.IGNORECASE,
)
_SEQUENCE_FIELDS = ("start", "end", "stride", "count", "format")


def sequence(_scope: Scope, terms: list[Any], **options: Any) -> list[Any]:
    """`start=1 end=5 stride=2 format=%02d`, `count=5`, or short: `[start-]end[/stride][:format]`."""
    return [text for term in terms or [""] for text in _sequence({**_fields(str(term)), **options})]


def _fields(term: str) -> dict[str, Any]:
    if short := _SHORT.fullmatch(term.strip()):
        return {name: value for name, value in short.groupdict().items() if value is not None}
    fields: dict[str, Any] = {}
    for word in shlex.split(term):
        name, equals, value = word.partition("=")
        if not equals or name not in _SEQUENCE_FIELDS:
            raise VariableError(
                f"'{word}' is not understood", hint="start=1 end=5 stride=2 format=%02d, or 1-5/2:%02d"
            )
        fields[name] = value
    return fields


def _sequence(fields: Mapping[str, Any]) -> list[str]:
    if unknown := [name for name in fields if name not in _SEQUENCE_FIELDS]:
        raise VariableError(f"no option '{unknown[0]}'", hint=did_you_mean(unknown[0], _SEQUENCE_FIELDS))
    try:
        numbers = {name: int(str(fields[name]), 0) for name in _SEQUENCE_FIELDS[:4] if name in fields}
    except ValueError as error:
        raise VariableError(str(error)) from None
    start, stride = numbers.get("start", 1), numbers.get("stride", 1)
    if ("count" in numbers) == ("end" in numbers):
        raise VariableError("needs either 'end' or 'count'")
    if stride == 0 or numbers.get("count") == 0:
        return []
    end = (
        numbers["end"] if "end" in numbers else start + numbers["count"] * stride - (1 if stride > 0 else -1)
    )
    if (end - start) * stride < 0:
        raise VariableError(f"{start} to {end} in steps of {stride} never ends", hint="the sign of 'stride'")
    form = str(fields.get("format", "%d"))
    try:
        return [form % number for number in range(start, end + (1 if stride > 0 else -1), stride)]
    except (TypeError, ValueError):
        raise VariableError(f"'{form}' is not a format for one number", hint="like host%02d") from None


LOOKUPS: dict[str, Lookup] = {
    "env": env,
    "items": items,
    "list": as_list,
    "flattened": flattened,
    "dict": dictionary,
    "indexed_items": indexed_items,
    "nested": nested,
    "cartesian": nested,
    "together": together,
    "subelements": subelements,
    "random_choice": random_choice,
    "vars": variables,
    "varnames": variable_names,
    "sequence": sequence,
}
