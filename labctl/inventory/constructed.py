"""Inventories that add to others (`plugin: constructed`): variables and groups made of what hosts have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labctl import yaml
from labctl.errors import InventoryError, LabctlError, did_you_mean
from labctl.inventory.model import Host, Inventory

Evaluate = Callable[[str, Mapping[str, Any]], Any]

NAMES = ("constructed", "ansible.builtin.constructed")
_KEYS = ("plugin", "strict", "compose", "groups", "keyed_groups", "use_vars_plugins", "leading_separator")
_KEYED = ("key", "prefix", "separator", "parent_group", "default_value", "trailing_separator")


def read(inventory: Inventory, data: yaml.Mapping, evaluate: Evaluate | None) -> None:
    """Add variables and groups to the hosts of the sources before this one. `evaluate(expression, variables)`
    gives the value of a Jinja2 expression. InventoryError with the position; unless `strict` a host for which
    an expression fails is passed over."""
    for key in data:
        if key not in _KEYS:
            raise InventoryError(
                f"a constructed inventory has no '{key}'",
                mark=data.key_mark(key),
                hint=did_you_mean(str(key), _KEYS) or f"it has: {', '.join(_KEYS[1:])}",
            )
    if evaluate is None:
        raise InventoryError("a constructed inventory cannot be read here", mark=data.mark)
    inventory.settle()
    reader = _Reader(inventory, data, evaluate)
    for host in list(inventory.hosts.values()):
        reader.host(host)


class _Reader:
    def __init__(self, inventory: Inventory, data: yaml.Mapping, evaluate: Evaluate) -> None:
        self._inventory = inventory
        self._evaluate = evaluate
        self._strict = data.get("strict") is True
        self._leading = data.get("leading_separator") is not False
        self._beside = data.get("use_vars_plugins") is True
        self._compose = _part(data, "compose", dict)
        self._groups = _part(data, "groups", dict)
        self._keyed = _part(data, "keyed_groups", list)
        for entry in self._keyed:
            _check(entry, data)

    def host(self, host: Host) -> None:
        for name, expression in self._compose.items():
            for value in self._value(expression, self._variables(host)):
                host.take({str(name): value})
        variables = self._variables(host)
        for name, expression in self._groups.items():
            if any(self._value(expression, variables)):
                self._inventory.add_host(host.name, str(name))
        for entry in self._keyed:
            for key in self._value(entry["key"], variables):
                self._key(host, entry, key, variables)

    def _variables(self, host: Host) -> dict[str, Any]:
        inventory = self._inventory
        if self._beside:
            merged = inventory.variables(host.name)
        else:
            merged = {}
            for group in ("all", *host.groups):
                merged |= inventory.groups[group].vars
            merged |= host.vars
        named = {"inventory_hostname": host.name, "inventory_hostname_short": host.name.split(".")[0]}
        return {**merged, **host.magic(), **named, "group_names": sorted(host.groups)}

    def _value(self, expression: Any, variables: Mapping[str, Any]) -> Iterator[Any]:
        """The value, or nothing where it cannot be had and that is no fault."""
        if not isinstance(expression, str):
            yield expression
            return
        try:
            yield self._evaluate(expression, variables)
        except LabctlError as error:
            if self._strict:
                said = f"{error.message} ({error.hint})" if error.hint else error.message
                raise InventoryError(
                    f"{variables['inventory_hostname']}: {said}", mark=yaml.mark_of(expression)
                ) from None

    def _key(self, host: Host, entry: Mapping[str, Any], key: Any, variables: Mapping[str, Any]) -> None:
        separator = str(entry.get("separator", "_"))
        prefix = "".join(str(value) for value in self._text(entry.get("prefix", ""), variables))
        for name in _names(entry, key, separator):
            group = f"{prefix}{separator}{name}" if prefix or self._leading else name
            self._inventory.add_host(host.name, group)
            if entry.get("parent_group"):
                for parent in self._text(entry["parent_group"], variables):
                    self._inventory.add_child(str(parent), group)

    def _text(self, text: Any, variables: Mapping[str, Any]) -> Iterator[Any]:
        """A text that may hold templates."""
        if isinstance(text, str) and "{{" in text:
            pieces = text.strip()
            if pieces.startswith("{{") and pieces.endswith("}}") and pieces.count("{{") == 1:
                yield from self._value(yaml.Text(pieces[2:-2], yaml.mark_of(text)), variables)
                return
            raise InventoryError(f"'{text}' must be one template or none", mark=yaml.mark_of(text))
        yield text


def _names(entry: Mapping[str, Any], key: Any, separator: str) -> Iterator[str]:
    """The group names, without their prefix, that a key's value stands for."""
    instead = entry.get("default_value")
    if isinstance(key, str):
        yield from [key] if key else [str(instead)] if instead is not None else []
    elif isinstance(key, list | tuple):
        for item in key:
            yield from _names(entry, str(item), separator)
    elif isinstance(key, Mapping):
        for name, value in key.items():
            text = str(value) if value not in (None, "") else str(instead or "")
            bare = not text and entry.get("trailing_separator", True) is False
            yield str(name) if bare else f"{name}{separator}{text}"


def _part(data: yaml.Mapping, key: str, kind: type) -> Any:
    value = data.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        wanted = "a list" if kind is list else "a mapping of names to expressions"
        raise InventoryError(f"'{key}' must be {wanted}", mark=data.value_mark(key))
    return value


def _check(entry: Any, data: yaml.Mapping) -> None:
    if not isinstance(entry, Mapping) or "key" not in entry:
        raise InventoryError(
            "each of keyed_groups is a mapping with a 'key'", mark=yaml.mark_of(entry, data.mark)
        )
    for name in entry:
        if name not in _KEYED:
            raise InventoryError(
                f"an entry of keyed_groups has no '{name}'",
                mark=getattr(entry, "key_marks", {}).get(name),
                hint=did_you_mean(str(name), _KEYED),
            )
