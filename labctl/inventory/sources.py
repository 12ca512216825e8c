"""Reading inventory sources: which kind each one is, and in what order they are merged."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from labctl import vault, yaml
from labctl.errors import InventoryError, Mark, did_you_mean
from labctl.inventory import ini, programs, structured
from labctl.inventory.constructed import Evaluate
from labctl.inventory.model import Inventory
from labctl.inventory.names import expand

_YAML = (".yml", ".yaml", ".json")
_IGNORED = re.compile(
    r"^(\..*|group_vars|host_vars|vars_plugins|.*~|.*\.(pyc|pyo|swp|bak|rpm|md|txt|rst|orig|cfg|retry))$"
)
_LOOKS_LIKE_YAML = re.compile(r"^(---|\{|[^\[\s=#;][^\s=]*:(\s|$))")


def load(sources: Sequence[str], evaluate: Evaluate | None = None) -> Inventory:
    """Read inventory sources in order; later ones win. A source is a file (INI, YAML, or executable), a
    folder of such files, or a list of hosts with a comma in it ("web1,"). `evaluate(expression, variables)`
    is what constructed inventories need. InventoryError."""
    inventory = Inventory()
    inventory.read_again = partial(load, sources, evaluate)
    for source in sources:
        path, there = Path(source), os.path.exists(source)  # False, where Path raises, for a long name
        if "," in source and not there:
            _host_list(inventory, source)
            continue
        if not there:
            raise InventoryError(f"there is no inventory at '{source}'", hint=_nearest(path))
        _read(inventory, path, evaluate)
        inventory.folders.append(path if path.is_dir() else path.parent)
    inventory.source = None
    inventory.folders = list(dict.fromkeys(inventory.folders))
    inventory.settle()
    for name in inventory.hosts.keys() & inventory.groups.keys():
        inventory.warnings.append((f"'{name}' is both a host and a group", inventory.hosts[name].mark))
    return inventory


def _nearest(path: Path) -> str | None:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder '{folder}' either"
    hint = did_you_mean(path.name, sorted(entry.name for entry in folder.iterdir()))
    return hint or "a single host is written with a comma after it: -i web1,"


def _host_list(inventory: Inventory, source: str) -> None:
    inventory.source = source
    for item in source.split(","):
        if not item.strip():
            continue
        names, port = expand(item.strip())
        for name in names:
            host = inventory.add_host(name, "ungrouped")
            if port is not None:
                host.take({"ansible_port": port})


def _read(inventory: Inventory, path: Path, evaluate: Evaluate | None) -> None:
    if path.is_dir():
        entries = sorted(entry for entry in path.iterdir() if not _IGNORED.match(entry.name))
        if not entries:
            raise InventoryError(f"the inventory folder '{path}' holds no inventory file")
        for entry in entries:
            _read(inventory, entry, evaluate)
        return
    inventory.source = str(path.absolute())
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InventoryError(f"cannot read the inventory '{path}': {error.strerror}") from None
    if os.access(path, os.X_OK) and data[:2] in (b"#!", b"\x7fE"):
        programs.read_program(inventory, path)
    elif path.suffix == ".toml":
        structured.read_toml(inventory, path)
    else:
        _read_text(inventory, path, data, evaluate)


def _read_text(inventory: Inventory, path: Path, data: bytes, evaluate: Evaluate | None) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InventoryError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    if text.startswith(yaml.VAULT_HEADER):
        text = vault.current().file(text, Mark(str(path), 1, 1))
    if path.suffix in _YAML or (not path.suffix and _first_line_is_yaml(text)):
        structured.read_yaml(inventory, path, evaluate)
    else:
        ini.read(inventory, text, str(path))


def _first_line_is_yaml(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    return _LOOKS_LIKE_YAML.match(first) is not None
