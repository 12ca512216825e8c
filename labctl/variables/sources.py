"""Variables from outside a playbook: `-e` arguments and `vars_files`."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.errors import LabctlError, Mark, PlaybookError, UsageError, VariableError
from labctl.variables.scope import Scope


def parse_extra_vars(items: Sequence[str]) -> dict[str, Any]:
    """The `-e` arguments, later ones over earlier ones: `k=v k2='a b'` (values are strings), a JSON or YAML
    mapping, or `@file`. Every string is a template. UsageError for anything else."""
    found: dict[str, Any] = {}
    for item in items:
        found.update(_extra(item))
    return found


def _extra(item: str) -> dict[str, Any]:
    text = item.strip()
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        if not path.is_file():
            raise UsageError(f"-e '{item}': {os.strerror(errno.EISDIR if path.is_dir() else errno.ENOENT)}")
        return load_vars_file(path)
    if text.startswith(("{", "[")) or _is_yaml_mapping(text):
        name = "<-e>"
        try:
            value = yaml.load(text, name)
        except LabctlError as error:
            raise UsageError(f"-e: {error.message}", hint="it looks like JSON or YAML") from None
        if not isinstance(value, dict):
            raise UsageError(f"-e '{item}': must be a mapping", hint='-e \'{"name": "value"}\'')
        return value
    return _pairs(item)


def _is_yaml_mapping(text: str) -> bool:
    first = text.split("=", 1)[0]
    return ": " in first or first.endswith(":") or "\n" in first


def _pairs(item: str) -> dict[str, Any]:
    try:
        words = shlex.split(item)
    except ValueError as error:
        raise UsageError(f"-e '{item}': {error}".replace("No closing", "no closing")) from None
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            hint = "name=value, '{\"name\": value}' or @file"
            raise UsageError(f"-e '{item}': '{word}' is not name=value", hint=hint)
        found[name] = yaml.Text(value, Mark(f"-e {name}", 1, 1))
    return found


def load_vars_file(path: Path) -> dict[str, Any]:
    """The mapping in a YAML (or JSON) file, with positions. PlaybookError when it holds something else."""
    value = yaml.load_file(str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        mark = yaml.mark_of(value, Mark(str(path), 1, 1))
        raise PlaybookError("a file of variables must hold a mapping", mark=mark)
    for name in value:
        if not isinstance(name, str):
            mark = value.key_mark(name) if isinstance(value, yaml.Mapping) else None
            raise PlaybookError(f"'{name}' is not a variable name: it must be a string", mark=mark)
    return value


def load_vars_files(
    entries: Any, scope: Scope, find: Callable[[str], Path | None], mark: Mark | None = None
) -> list[dict[str, Any]]:
    """The mappings of a play's `vars_files`, in order. An entry that is itself a list means the first of
    its files that exists; a name that needs a variable not set yet is passed over there."""
    found: list[dict[str, Any]] = []
    for entry in entries if isinstance(entries, list) else [entries]:
        names: list[Any] = []
        for choice in entry if isinstance(entry, list) else [entry]:
            try:
                name = str(scope.render(choice, mark))
            except VariableError:
                if isinstance(entry, list):
                    continue
                raise
            names.append(name)
            if path := find(name):
                found.append(load_vars_file(path))
                break
        else:
            at = yaml.mark_of(entry, mark)
            raise PlaybookError(f"vars_files: not found: {', '.join(map(str, names)) or entry}", mark=at)
    return found
