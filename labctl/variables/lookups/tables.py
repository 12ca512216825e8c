"""Lookups in files of records: `csvfile` and `ini`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from labctl.errors import VariableError
from labctl.variables.filters.logic import to_bool
from labctl.variables.lookups.files import found, read
from labctl.variables.lookups.inline import split_options

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope

_CSV: dict[str, Any] = {
    "file": "ansible.csv",
    "delimiter": "TAB",
    "col": 1,
    "keycol": 0,
    "default": None,
    "encoding": "utf-8",
}
_INI: dict[str, Any] = {
    "file": "ansible.ini",
    "type": "ini",
    "section": "global",
    "re": False,
    "encoding": "utf-8",
    "default": "",
    "case_sensitive": False,
    "allow_no_value": False,
    "allow_none": False,
    "interpolation": True,
}


def _known(options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {**defaults, **{name: value for name, value in options.items() if name in defaults}}


def csvfile(scope: Scope, terms: list[Any], **options: Any) -> list[Any]:
    """The cell `col` of the row whose cell `keycol` is the term; columns count from 0."""
    if not terms:
        raise VariableError("needs the key to look for")
    values = _known(options, _CSV)
    cells = []
    for term in terms:
        key, inline = split_options(str(term), _CSV)
        if not key:
            raise VariableError("needs the key to look for")
        values |= inline
        if (cell := _cell(scope, key, values)) is not None:
            cells += cell if isinstance(cell, list) else [cell]
    return cells


def _cell(scope: Scope, key: str, values: dict[str, Any]) -> Any:
    import csv

    mark = str(values["delimiter"])
    delimiter = "\t" if mark in ("TAB", "\\t") else mark
    try:
        column, key_column = int(values["col"]), int(values["keycol"])
    except (TypeError, ValueError):
        raise VariableError("'col' and 'keycol' must be numbers") from None
    path = found(scope, str(values["file"]), "files")
    lines = read(path, str(values["encoding"])).splitlines(keepends=True)
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if row and row[key_column] == key:
                return row[column]
    except IndexError:
        raise VariableError(f"{path}: a row has no column {max(column, key_column)}") from None
    except (csv.Error, TypeError) as error:
        raise VariableError(f"{path}: {error}") from None
    return values["default"]


def ini(scope: Scope, terms: list[Any], **options: Any) -> list[Any]:
    """The value of a key in `section`; with `re` those of all keys that match. `type='properties'`: a file
    without sections."""
    values = _known(options, _INI)
    cells: list[Any] = []
    for term in terms:
        key, inline = split_options(str(term), _INI)
        if not key:
            raise VariableError("needs the key to look for")
        values |= inline
        cells += _entries(scope, key, values)
    return cells


def _entries(scope: Scope, key: str, values: dict[str, Any]) -> list[Any]:
    import configparser

    path = found(scope, str(values["file"]), "files")
    section = "properties" if values["type"] == "properties" else str(values["section"])
    text = read(path, str(values["encoding"]))
    parser = configparser.ConfigParser(
        allow_no_value=to_bool(values["allow_no_value"]) or to_bool(values["allow_none"]),
        interpolation=configparser.BasicInterpolation() if to_bool(values["interpolation"]) else None,
    )
    if to_bool(values["case_sensitive"]):
        parser.optionxform = str  # type: ignore[method-assign,assignment]
    try:
        parser.read_string(f"[{section}]\n{text}" if values["type"] == "properties" else text, source=path)
        if to_bool(values["re"]):
            return [value for name, value in parser.items(section) if re.match(key, name)]
        value = parser.get(section, key)
    except configparser.NoOptionError:
        value = values["default"]
    except configparser.NoSectionError:
        raise VariableError(f"{path} has no section '{section}'") from None
    except (configparser.Error, re.error) as error:
        raise VariableError(f"{path}: {str(error).splitlines()[0]}") from None
    return value if isinstance(value, list) else [] if value is None else [value]


LOOKUPS: dict[str, Lookup] = {"csvfile": csvfile, "ini": ini}
