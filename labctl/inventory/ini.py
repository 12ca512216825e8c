"""INI inventories: `[group]`, `[group:children]`, `[group:vars]`, host lines with variables."""

from __future__ import annotations

import ast
import re
from typing import Any

from labctl import yaml
from labctl.errors import InventoryError, Mark, did_you_mean
from labctl.inventory.model import Inventory
from labctl.inventory.names import expand
from labctl.inventory.varfiles import trusted

_SECTION = re.compile(r"^\[\s*(?P<group>[^:\[\]\s]+)\s*(?::\s*(?P<kind>[^\]\s]*)\s*)?\]\s*(?P<rest>.*)$")
_KINDS = ("hosts", "children", "vars")
_ESCAPABLE_IN_QUOTES = '"\\'


def read(inventory: Inventory, text: str, path: str) -> None:
    """Add the hosts and groups of one INI inventory. InventoryError with line and column."""
    reader = _Reader(inventory, path)
    for number, line in enumerate(text.splitlines(), 1):
        reader.line(line, number)
    reader.finish()


class _Reader:
    def __init__(self, inventory: Inventory, path: str) -> None:
        self.inventory = inventory
        self.path = path
        self.group = "ungrouped"
        self.kind = "hosts"
        self.awaited: dict[str, tuple[str, Mark]] = {}  # group used before it was declared: how, where
        self.declared: set[str] = {"all", "ungrouped", *inventory.groups}

    def line(self, line: str, number: int) -> None:
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            return
        mark = Mark(self.path, number, len(line) - len(line.lstrip()) + 1)
        if stripped.startswith("[") and not (self.kind == "hosts" and _is_host_line(stripped)):
            self._section(stripped, mark)
        elif self.kind == "vars":
            self._variable(stripped, mark)
        elif self.kind == "children":
            self._child(stripped, mark)
        else:
            self._hosts(stripped, mark)

    def _section(self, text: str, mark: Mark) -> None:
        found = _SECTION.match(text)
        if found is None or (found["rest"] and found["rest"][0] not in "#;"):
            raise InventoryError(
                f"not a section: {text}",
                mark=mark,
                hint="a section is [group], [group:children] or [group:vars]",
            )
        self.group, self.kind = found["group"], found["kind"] or "hosts"
        if self.kind not in _KINDS:
            column = mark.column + text.index(":") + 1
            raise InventoryError(
                f"a section cannot be of kind '{self.kind}'",
                mark=Mark(self.path, mark.line, column),
                hint=did_you_mean(self.kind, _KINDS) or f"one of: {', '.join(_KINDS)}",
            )
        if self.kind == "vars":
            if self.group not in self.declared:
                self.awaited.setdefault(self.group, ("has variables", mark))
            return
        self.declared.add(self.group)
        self.inventory.add_group(self.group, mark)

    def _variable(self, text: str, mark: Mark) -> None:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InventoryError(f"expected name=value, found: {text}", mark=mark)
        lead = len(value) - len(value.lstrip())
        at = Mark(self.path, mark.line, mark.column + len(name) + 1 + lead)
        given = yaml.Mapping(mark)
        given[name.strip()], given.value_marks[name.strip()] = _value(value.strip(), at), at
        self.inventory.set_group_variables(self.group, given, mark)

    def _child(self, text: str, mark: Mark) -> None:
        name = text.split("#", 1)[0].strip()
        if not re.fullmatch(r"[^\s:\[\]=]+", name):
            raise InventoryError(f"expected the name of a group, found: {text}", mark=mark)
        if name not in self.declared:
            self.awaited.setdefault(name, (f"is a child of '{self.group}'", mark))
        self.inventory.add_child(self.group, name, mark)

    def _hosts(self, text: str, mark: Mark) -> None:
        tokens = _tokens(text, mark)
        names, port = expand(tokens[0][0], tokens[0][1])
        given = yaml.Mapping(mark)
        if port is not None:
            given["ansible_port"], given.value_marks["ansible_port"] = port, mark
        for token, at in tokens[1:]:
            name, equals, value = token.partition("=")
            if not equals or not name:
                raise InventoryError(
                    f"expected name=value after the host, found: {token}",
                    mark=at,
                    hint="a value with spaces must be quoted; one host a line",
                )
            place = Mark(at.file, at.line, at.column + len(name) + 1)
            given[name], given.value_marks[name] = _value(value, place), place
        for host in names:
            self.inventory.add_host(host, self.group, mark).take(given)

    def finish(self) -> None:
        for group, (how, mark) in self.awaited.items():
            if group not in self.declared:
                valid = self.declared - {"all", "ungrouped"}
                raise InventoryError(
                    f"group '{group}' {how} but is declared nowhere",
                    mark=mark,
                    hint=did_you_mean(group, valid) or f"declare it with [{group}]",
                )


def _is_host_line(text: str) -> bool:
    """`[::1]:22 a=b` is an address, `[web]` a section."""
    return re.match(r"^\[[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]", text) is not None


def _value(text: str, mark: Mark) -> Any:
    """A Python literal where it is one (5, True, ['a']), else the text itself, as Ansible reads INI."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text
    return trusted(value, mark)


def _tokens(text: str, mark: Mark) -> list[tuple[str, Mark]]:
    """Split as a shell does: quotes and backslashes are taken off, `#` starts a comment."""
    tokens: list[tuple[str, Mark]] = []
    current: list[str] | None = None
    start = position = 0
    quote = ""
    while position < len(text):
        char = text[position]
        if current is None and not char.isspace():
            current, start = [], position
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and text[position + 1 : position + 2] in _ESCAPABLE_IN_QUOTES:
                position += 1
                _keep(current, text[position : position + 1])
            else:
                _keep(current, char)
        elif char in "'\"":
            quote = char
        elif char == "#":
            break
        elif char.isspace():
            if current is not None:
                tokens.append(("".join(current), Mark(mark.file, mark.line, mark.column + start)))
            current = None
        elif char == "\\":
            position += 1
            _keep(current, text[position : position + 1])
        else:
            _keep(current, char)
        position += 1
    if quote:
        raise InventoryError(
            f"a quote ({quote}) is not closed", mark=Mark(mark.file, mark.line, mark.column + start)
        )
    if current:
        tokens.append(("".join(current), Mark(mark.file, mark.line, mark.column + start)))
    return tokens


def _keep(current: list[str] | None, char: str) -> None:
    if current is not None:
        current.append(char)
