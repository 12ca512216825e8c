"""group_vars/ and host_vars/ folders: variables kept in files named after a group or host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.errors import InventoryError, Mark, YamlError

EXTENSIONS = ("", ".yml", ".yaml", ".json")


class VariableFolder:
    """The group_vars/ and host_vars/ in one folder; each file is read once, when first asked for."""

    def __init__(self, folder: Path, warnings: list[tuple[str, Mark | None]]) -> None:
        self._folder = folder
        self._warnings = warnings
        self._listings = {kind: _listing(folder / kind) for kind in ("group_vars", "host_vars")}
        self._read: dict[tuple[str, str], Mapping[str, Any]] = {}

    def group(self, name: str) -> Mapping[str, Any]:
        return self._variables("group_vars", name)

    def host(self, name: str) -> Mapping[str, Any]:
        return self._variables("host_vars", name)

    def _variables(self, kind: str, name: str) -> Mapping[str, Any]:
        key = (kind, name)
        if key not in self._read:
            found = [name + end for end in EXTENSIONS if name + end in self._listings[kind]]
            paths = _files(self._folder / kind / found[0]) if found else []
            if len(found) > 1:
                self._warnings.append(
                    (f"{self._folder / kind}: '{found[0]}' is read, '{', '.join(found[1:])}' is not", None)
                )
            self._read[key] = yaml.merged(read_variables(path) for path in paths)
        return self._read[key]


def _listing(folder: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith(".") or entry.name.endswith("~"):
            continue
        if entry.is_dir() or entry.suffix in EXTENSIONS:
            found.extend(_files(entry))
    return found


def read_variables(path: Path) -> Mapping[str, Any]:
    """The variables in a YAML or JSON file; InventoryError when it does not hold a mapping."""
    data = read_data(path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InventoryError(
            "a file of variables holds a mapping of names to values",
            mark=yaml.mark_of(data, Mark(str(path), 1, 1)),
        )
    for name in data:
        if not isinstance(name, str):
            raise InventoryError(
                f"a variable's name is a string, not {name!r}", mark=getattr(data, "key_marks", {}).get(name)
            )
    return data


def read_data(path: Path) -> Any:
    """A YAML or JSON file's value; InventoryError with the position when it is neither."""
    try:
        return yaml.load_file(str(path))
    except YamlError as error:
        if path.suffix == ".json":
            try:
                return trusted(json.loads(path.read_bytes()), Mark(str(path), 1, 1))
            except ValueError:
                pass
        raise InventoryError(error.message, mark=error.mark, hint=error.hint) from None


def trusted(value: Any, mark: Mark) -> Any:
    """Plain data as if it had been written at `mark`: its strings become template texts."""
    if isinstance(value, str):
        return yaml.Text(value, mark)
    if isinstance(value, list | tuple):
        return [trusted(item, mark) for item in value]
    if isinstance(value, dict):
        return {trusted(key, mark): trusted(item, mark) for key, item in value.items()}
    return value
