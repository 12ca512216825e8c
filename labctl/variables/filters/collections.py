"""Filters over lists and dicts."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, pass_environment
from jinja2.filters import do_unique

from labctl.errors import VariableError


def elements(value: Any, filter_name: str) -> list[Any]:
    """The members of anything with members: a string's letters, a dict's keys."""
    if not isinstance(value, Iterable):
        raise VariableError(f"{filter_name}: needs a list, not {type_name(value)}")
    return list(value)


def as_list(value: Any, filter_name: str) -> list[Any]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise VariableError(f"{filter_name}: needs a list, not {type_name(value)}")
    return list(value)


def type_name(value: Any) -> str:
    names = {
        "LazyDict": "dict",
        "LazyList": "list",
        "NoneType": "nothing",
        "str": "a string",
        "int": "an integer",
    }
    kind = type(value).__name__
    return names.get(kind, kind)


def dict2items(mapping: Any, key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    if not isinstance(mapping, Mapping):
        raise VariableError(f"dict2items: needs a dict, not {type_name(mapping)}")
    return [{key_name: key, value_name: value} for key, value in mapping.items()]


def items2dict(items: Any, key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    try:
        return {item[key_name]: item[value_name] for item in as_list(items, "items2dict")}
    except (KeyError, TypeError) as error:
        needed = f"needs a list of dicts with '{key_name}' and '{value_name}'"
        raise VariableError(f"items2dict: {needed} ({error})") from None


def flatten(items: Any, levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if skip_nulls and (item is None or item in ("None", "null")):
            continue
        if isinstance(item, list | tuple):
            deeper = levels is None or levels >= 1
            below = None if levels is None else levels - 1
            found += flatten(item, below, skip_nulls) if deeper else [item]
        else:
            found.append(item)
    return found


def _distinct(items: Iterable[Any]) -> list[Any]:
    seen: set[Hashable] = set()
    found: list[Any] = []
    for item in items:
        if isinstance(item, Hashable):
            if item not in seen:
                seen.add(item)
                found.append(item)
        elif item not in found:
            found.append(item)
    return found


@pass_environment
def unique(
    environment: Environment, items: Any, case_sensitive: bool | None = None, attribute: Any = None
) -> list[Any]:
    """`'A'` and `'a'` are one unless `case_sensitive`."""
    values = elements(items, "unique")
    try:
        return list(do_unique(environment, values, case_sensitive=bool(case_sensitive), attribute=attribute))
    except TypeError as error:
        if case_sensitive is False or attribute:
            raise VariableError(f"unique: {error}") from None
        return _distinct(values)


def _members(numbers: Callable[[set[Any], set[Any]], set[Any]], *lists: list[Any]) -> list[Any] | None:
    """The result of an operation of sets, for numbers alone: their order in a set does not change from
    run to run, as that of strings does."""
    if all(isinstance(item, int | float) for values in lists for item in values):
        first, second = (set(values) for values in lists)
        return list(numbers(first, second))
    return None


def union(first: Any, second: Any) -> list[Any]:
    one, two = elements(first, "union"), elements(second, "union")
    found = _members(operator.or_, one, two)
    return _distinct([*one, *two]) if found is None else found


def intersect(first: Any, second: Any) -> list[Any]:
    one, two = elements(first, "intersect"), elements(second, "intersect")
    found = _members(operator.and_, one, two)
    return _distinct(item for item in one if item in two) if found is None else found


def difference(first: Any, second: Any) -> list[Any]:
    one, two = elements(first, "difference"), elements(second, "difference")
    found = _members(operator.sub, one, two)
    return _distinct(item for item in one if item not in two) if found is None else found


def symmetric_difference(first: Any, second: Any) -> list[Any]:
    one, two = elements(first, "symmetric_difference"), elements(second, "symmetric_difference")
    found = _members(operator.xor, one, two)
    return [*difference(one, two), *difference(two, one)] if found is None else found


def product(*lists: Any, repeat: int = 1) -> Iterator[Any]:
    return itertools.product(*lists, repeat=repeat)


def subelements(items: Any, path: str | Sequence[str], skip_missing: bool = False) -> list[Any]:
    outer = list(items.values()) if isinstance(items, Mapping) else as_list(items, "subelements")
    keys = path.split(".") if isinstance(path, str) else list(path)
    found: list[Any] = []
    for item in outer:
        inner: Any = item
        for key in keys:
            if not isinstance(inner, Mapping):
                raise VariableError(f"subelements: '{key}' is sought in {type_name(inner)}, which is no dict")
            if key not in inner:
                if skip_missing:
                    inner = []
                    break
                raise VariableError(
                    f"subelements: there is no key '{key}'", hint="skip_missing=true passes over it"
                )
            inner = inner[key]
        if not isinstance(inner, list):
            raise VariableError(f"subelements: '{'.'.join(keys)}' must be a list, not {type_name(inner)}")
        found += [[item, value] for value in inner]
    return found


@pass_environment
def extract(environment: Environment, key: Any, container: Any, morekeys: Any = None) -> Any:
    more = [] if morekeys is None else morekeys if isinstance(morekeys, list) else [morekeys]
    value = container
    for step in (key, *more):
        value = environment.getitem(value, step)
    return value


def rekey_on_member(data: Any, key: str, duplicates: str = "error") -> dict[Any, Any]:
    items = list(data.values()) if isinstance(data, Mapping) else as_list(data, "rekey_on_member")
    if duplicates not in ("error", "overwrite"):
        raise VariableError(f"rekey_on_member: duplicates is 'error' or 'overwrite', not '{duplicates}'")
    found: dict[Any, Any] = {}
    for item in items:
        if not isinstance(item, Mapping) or key not in item:
            raise VariableError(f"rekey_on_member: an item has no key '{key}'")
        if item[key] in found and duplicates == "error":
            raise VariableError(f"rekey_on_member: '{item[key]}' stands twice", hint="duplicates='overwrite'")
        found[item[key]] = item
    return found


FILTERS: dict[str, Callable[..., Any]] = {
    "dict2items": dict2items,
    "items2dict": items2dict,
    "flatten": flatten,
    "unique": unique,
    "union": union,
    "intersect": intersect,
    "difference": difference,
    "symmetric_difference": symmetric_difference,
    "product": product,
    "permutations": itertools.permutations,
    "combinations": itertools.combinations,
    "zip": zip,
    "zip_longest": itertools.zip_longest,
    "subelements": subelements,
    "extract": extract,
    "rekey_on_member": rekey_on_member,
}
