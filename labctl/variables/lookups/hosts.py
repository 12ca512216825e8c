"""`inventory_hostnames`: the hosts that a pattern, as in a play's `hosts`, chooses."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labctl.variables.lazy import plain

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope

_SLICE = re.compile(r"(.+)\[(-?\d+)(?:([:-])(-?\d+)?)?\]")


def inventory_hostnames(scope: Scope, terms: list[Any]) -> list[Any]:
    """Hosts in the inventory's order; a pattern that matches none adds none."""
    found = scope.find("groups")
    groups = {str(name): list(hosts) for name, hosts in plain(found).items()} if _is_groups(found) else {}
    return _chosen(_parts(terms), groups)


def _is_groups(value: Any) -> bool:
    return isinstance(value, Mapping)


def _parts(terms: list[Any]) -> list[str]:
    texts = [str(item) for term in terms for item in (term if isinstance(term, list) else [term])]
    parts: list[str] = []
    for text in texts:
        colons = "," not in text and text.count(":") > 0 and "[" not in text and not text.startswith("~")
        parts += re.split("[:,]" if colons else ",", text)
    return [part.strip() for part in parts if part.strip()]


def _chosen(parts: list[str], groups: Mapping[str, list[str]]) -> list[str]:
    """Unions first, then what `&` keeps, then what `!` takes away."""
    order = {name: None for hosts in groups.values() for name in hosts}
    plus = [part for part in parts if part[0] not in "&!"] or ["all"]
    hosts = list(dict.fromkeys(name for part in plus for name in _one(part, groups, list(order))))
    for part in (part[1:] for part in parts if part[0] == "&"):
        kept = _one(part, groups, list(order))
        hosts = [name for name in hosts if name in kept]
    for part in (part[1:] for part in parts if part[0] == "!"):
        gone = _one(part, groups, list(order))
        hosts = [name for name in hosts if name not in gone]
    return hosts


def _one(part: str, groups: Mapping[str, list[str]], hosts: list[str]) -> list[str]:
    if (found := _SLICE.fullmatch(part)) and not part.startswith("~"):
        names = _one(found[1], groups, hosts)
        first = int(found[2])
        if found[3] is None:
            return names[first : first + 1 or None]
        return names[first : int(found[4]) + 1 if found[4] else None]
    if part in ("all", "*"):
        return hosts
    matches = _matcher(part)
    members = [name for group, names in groups.items() if matches(group) for name in names]
    return list(dict.fromkeys([*members, *(name for name in hosts if matches(name))]))


def _matcher(part: str) -> Callable[[str], object]:
    if not part.startswith("~"):
        return lambda name: fnmatch.fnmatchcase(name, part)
    try:
        return re.compile(part[1:]).search
    except re.error:
        return lambda _name: False


LOOKUPS: dict[str, Lookup] = {"inventory_hostnames": inventory_hostnames}
