"""Inventories that are data: YAML and TOML files, and lab inventories (`plugin: lab`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.errors import InventoryError, Mark, did_you_mean
from labctl.inventory import constructed
from labctl.inventory.model import Inventory, LabSpec
from labctl.inventory.names import expand
from labctl.inventory.varfiles import read_data, trusted

_GROUP_KEYS = ("hosts", "children", "vars")
_LAB_KEYS = ("plugin", "name", "nodes", "groups", "vars")


def read_yaml(inventory: Inventory, path: Path, evaluate: constructed.Evaluate | None = None) -> None:
    """Add what a YAML inventory holds. `evaluate` is for constructed ones. InventoryError with line and
    column."""
    data = read_data(path)
    start = Mark(str(path), 1, 1)
    if not data and (data is None or isinstance(data, yaml.Mapping)):
        inventory.warnings.append(("this inventory is empty", start))
        return
    if not isinstance(data, yaml.Mapping):
        raise InventoryError("an inventory is a mapping of groups", mark=yaml.mark_of(data, start))
    plugin = data.get("plugin")
    if isinstance(plugin, str):
        if plugin in constructed.NAMES:
            constructed.read(inventory, data, evaluate)
            return
        if plugin not in ("lab", "labctl.lab"):
            raise InventoryError(
                f"unknown inventory plugin '{plugin}'",
                mark=data.value_mark("plugin"),
                hint=did_you_mean(plugin, ["lab", "constructed"])
                or "labctl knows the plugins 'lab' and 'constructed'; a program can print what another would",
            )
        _lab(inventory, data, path)
        return
    _groups(inventory, data)


def read_toml(inventory: Inventory, path: Path) -> None:
    """Add what a TOML inventory holds: its tables are groups, as YAML's mappings are. InventoryError."""
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InventoryError(f"{path}: not a TOML inventory: {error}") from None
    mark = Mark(str(path), 1, 1)
    for group in data.values():
        if isinstance(group, dict) and isinstance(children := group.get("children"), list):
            group["children"] = dict.fromkeys(children)
    _groups(inventory, _marked(data, mark))


def _marked(value: Any, mark: Mark) -> Any:
    if not isinstance(value, dict):
        return trusted(value, mark)
    mapping = yaml.Mapping(mark)
    mapping.update({key: _marked(item, mark) for key, item in value.items()})
    return mapping


def _groups(inventory: Inventory, data: yaml.Mapping) -> None:
    for name, content in data.items():
        _group(inventory, str(name), content, data.key_mark(name), data.value_mark(name))


def _group(inventory: Inventory, name: str, content: Any, key: Mark, at: Mark) -> None:
    if content is not None and not isinstance(content, yaml.Mapping):
        message = f"'{name}' is left out: a group is a mapping that holds hosts:, children: and vars:"
        inventory.warnings.append((message, yaml.mark_of(content, at)))
        return
    inventory.add_group(name, key)
    if content is None:
        return
    group = content
    for part in group:
        if part not in _GROUP_KEYS:
            hint = did_you_mean(str(part), _GROUP_KEYS) or f"a group has: {', '.join(_GROUP_KEYS)}"
            message = f"'{part}' is left out, as a group has no such key ({hint})"
            inventory.warnings.append((message, group.key_mark(part)))
    variables = _named(group, "vars", f"the vars of group '{name}'")
    inventory.set_group_variables(name, variables, key)
    hosts = _named(group, "hosts", f"the hosts of group '{name}'")
    for pattern in hosts:
        _host(inventory, name, pattern, hosts)
    children = _named(group, "children", f"the children of group '{name}'")
    for child in children:
        mark = children.key_mark(child)
        inventory.add_child(name, str(child), mark)
        _group(inventory, str(child), children[child], mark, children.value_mark(child))


def _host(inventory: Inventory, group: str, pattern: Any, hosts: yaml.Mapping) -> None:
    mark = hosts.key_mark(pattern)
    names, port = expand(str(pattern), mark)
    given: list[dict[str, Any]] = [] if port is None else [{"ansible_port": port}]
    if hosts[pattern] is not None:
        given.append(_mapping(hosts[pattern], f"host '{pattern}'", hosts.value_mark(pattern), "name: value"))
    for host in names:
        entry = inventory.add_host(host, group, mark)
        for variables in given:
            entry.take(variables)


def _mapping(value: Any, what: str, mark: Mark, expected: str) -> yaml.Mapping:
    if isinstance(value, yaml.Mapping):
        return value
    hint = f"{expected}; write ':' after each name" if isinstance(value, list) else expected
    raise InventoryError(f"{what} must be a mapping", mark=yaml.mark_of(value, mark), hint=hint)


def _named(parent: yaml.Mapping, key: str, what: str) -> yaml.Mapping:
    """The mapping under `key`; one name alone stands for {name: null}, nothing for {}."""
    value, mark = parent.get(key), parent.value_mark(key)
    if value is None or isinstance(value, str):
        single = yaml.Mapping(mark)
        if value is not None and key != "vars":
            single[value] = None
            single.key_marks[value] = single.value_marks[value] = mark
        elif value is not None:
            raise InventoryError(f"{what} must be a mapping", mark=mark)
        return single
    return _mapping(value, what, mark, "name: value")


def _lab(inventory: Inventory, data: yaml.Mapping, path: Path) -> None:
    for key in data:
        if key not in _LAB_KEYS:
            raise InventoryError(
                f"a lab inventory has no '{key}'",
                mark=data.key_mark(key),
                hint=did_you_mean(str(key), _LAB_KEYS) or f"it has: {', '.join(_LAB_KEYS)}",
            )
    nodes = _named(data, "nodes", "nodes")
    if not nodes:
        raise InventoryError("a lab needs nodes", mark=data.key_mark("nodes"))
    name = data.get("name", path.resolve().parent.name if path.stem in ("lab", "hosts") else path.stem)
    if not isinstance(name, str) or not name:
        raise InventoryError("a lab's name must be a string", mark=data.value_mark("name"))
    inventory.set_group_variables("all", _named(data, "vars", "vars"))
    groups = _named(data, "groups", "groups")
    for group in groups:
        _group(inventory, str(group), groups[group], groups.key_mark(group), groups.value_mark(group))
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        mark = nodes.key_mark(node)
        names, _port = expand(str(node), mark)
        content = nodes[node]
        given: yaml.Mapping = (
            yaml.Mapping(mark)
            if content is None
            else _mapping(content, f"node '{node}'", nodes.value_mark(node), "groups: and settings")
        )
        for host in names:
            found[host] = dict(given)
            _lab_host(inventory, host, given, mark)
    inventory.labs.append(LabSpec(path=path, name=str(name), nodes=found, mark=data.mark))


def _lab_host(inventory: Inventory, host: str, given: yaml.Mapping, mark: Mark) -> None:
    groups = given.get("groups", [])
    if isinstance(groups, str):
        groups = [groups]
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise InventoryError(
            f"the groups of node '{host}' must be a list of names", mark=given.value_mark("groups")
        )
    entry = inventory.add_host(host, None, mark)
    for group in groups:
        inventory.add_host(host, str(group), yaml.mark_of(group, mark))
    settings = yaml.merged((given,))
    for key in ("groups", "vars"):
        settings.pop(key, None)
    entry.take(settings)
    entry.take(_named(given, "vars", f"the vars of node '{host}'"))
