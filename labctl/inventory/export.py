"""An inventory as data, in the shapes that `ansible-inventory` prints and that inventories are read from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from labctl.inventory.model import Group, Inventory
from labctl.records import dataclass
from labctl.yaml import Text

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Export:
    """`hosts` are those to be shown, `own`: each host and group with the variables it has itself, instead of
    every host with all it inherits. Values are as written, templates too."""

    inventory: Inventory
    hosts: frozenset[str]
    playbook_dir: Path | None = None
    own: bool = False

    def host_variables(self, name: str) -> dict[str, Any]:
        if not self.own:
            return self.inventory.variables(name, self.playbook_dir)
        return self.inventory.own_variables(name, self.playbook_dir)

    def group_variables(self, name: str) -> dict[str, Any]:
        """A group's own variables, its priority among them."""
        priority = self.inventory.groups[name].priority
        ranked = {} if priority == 1 else {"ansible_group_priority": priority}
        return self.inventory.own_group_variables(name, self.playbook_dir) | ranked

    def listing(self) -> dict[str, Any]:
        """What an inventory program prints for `--list`."""
        found: dict[str, Any] = {}
        for group in self._walk("all", set()):
            hosts = [] if group.name == "all" else self._hosts(group)
            content = {"hosts": hosts, "children": list(group.children), "vars": self._vars(group.name)}
            if kept := _filled(content):
                found[group.name] = kept
        variables = {name: self.host_variables(name) for name in self.inventory.hosts if name in self.hosts}
        found["_meta"] = {"hostvars": _filled(variables), "profile": "inventory_legacy"}
        return found

    def tree(self) -> dict[str, Any]:
        """A YAML inventory: groups within groups, each described where it comes first."""
        return self._nested("all", set(), set())

    def tables(self) -> dict[str, Any]:
        """A TOML inventory: every group a table of its own."""
        found: dict[str, Any] = {}
        described: set[str] = set()
        for group in self._walk("all", set()):
            children = [
                name
                for name in group.children
                if name != "ungrouped" or self._hosts(self.inventory.groups[name])
            ]
            content = {
                "children": [] if group.name == "all" else children,
                "hosts": self._described(group, described),
                "vars": self._vars(group.name),
            }
            if kept := _filled(content):
                found[group.name] = kept
        return found

    def graph(self, start: str, *, variables: bool = False) -> Iterable[str]:
        """Lines that draw a group with all it holds."""
        yield from self._drawn(self.inventory.groups[start], 0, variables)

    def _drawn(self, group: Group, depth: int, variables: bool) -> Iterable[str]:
        yield _branch(f"@{group.name}:", depth)
        for child in group.children:
            yield from self._drawn(self.inventory.groups[child], depth + 1, variables)
        for host in self._hosts(group) if group.name != "all" else ():
            yield _branch(host, depth + 1)
            if variables:
                yield from _braces(self.host_variables(host), depth + 2)
        if variables:
            yield from _braces(self.group_variables(group.name), depth + 1)

    def _walk(self, name: str, seen: set[str]) -> Iterable[Group]:
        """Every group once, those within it after it."""
        seen.add(name)
        group = self.inventory.groups[name]
        yield group
        for child in group.children:
            if child not in seen:
                yield from self._walk(child, seen)

    def _nested(self, name: str, seen: set[str], described: set[str]) -> dict[str, Any]:
        group = self.inventory.groups[name]
        children: dict[str, Any] = {}
        for child in group.children:
            if child in seen:
                children[child] = {}
            else:
                children |= self._nested(child, seen, described)
                seen.add(child)
        hosts = {} if name == "all" else self._described(group, described)
        content = _filled({"children": children, "hosts": hosts, "vars": self._vars(name)})
        return {name: content} if content else {}

    def _described(self, group: Group, described: set[str]) -> dict[str, Any]:
        """A group's hosts; the variables of each where it is named first."""
        found = {}
        for host in self._hosts(group) if group.name != "all" else ():
            found[host] = {} if host in described else self.host_variables(host)
            described.add(host)
        return found

    def _hosts(self, group: Group) -> list[str]:
        return [host for host in group.hosts if host in self.hosts]

    def _vars(self, name: str) -> dict[str, Any]:
        return self.group_variables(name) if self.own else {}


def _filled(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if value}


def _branch(text: str, depth: int) -> str:
    return f"{'  |' * depth}--{text}" if depth else text


def _braces(variables: Mapping[str, Any], depth: int) -> list[str]:
    return [_branch(f"{{{name} = {plain(value)}}}", depth) for name, value in sorted(variables.items())]


def plain(value: Any, vaulted: Callable[[Text], Any] = lambda text: {"__ansible_vault": str(text)}) -> Any:
    """A value without labctl's own types; encrypted and unsafe texts as Ansible's JSON has them."""
    if isinstance(value, Text) and value.vault:
        return vaulted(value)
    if isinstance(value, Text) and value.unsafe:
        return {"__ansible_unsafe": str(value)}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item, vaulted) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, vaulted) for item in value]
    return value


def to_json(value: Any) -> str:
    return json.dumps(plain(value), indent=4, sort_keys=True, default=str)


class _Vaulted(str):
    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


_Dumper.add_representer(
    _Vaulted, lambda dumper, text: dumper.represent_scalar("!vault", str(text), style="|")
)


def to_yaml(value: Any) -> str:
    written = yaml.dump(plain(value, _Vaulted), Dumper=_Dumper, default_flow_style=False, allow_unicode=True)
    return str(written).rstrip("\n")


def to_toml(tables: Mapping[str, Any]) -> str:
    """TOML text of tables within tables; a list may hold tables, and nothing may be null: such keys are left
    out."""
    return "\n".join(_tables(plain(tables), ())).strip()


def _tables(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[str]:
    simple = {key: value for key, value in table.items() if not isinstance(value, dict) and value is not None}
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    if path and (simple or not inner):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in simple.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _tables(value, (*path, str(key)))


def _key(name: Any) -> str:
    text = str(name)
    return text if _BARE_KEY.fullmatch(text) else json.dumps(text)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value if item is not None) + "]"
    if isinstance(value, dict):
        pairs = (f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, bool | int | float | str):
        return json.dumps(value)
    return json.dumps(str(value))
