"""Executable inventories: programs that print hosts and groups as JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, cast

from labctl.errors import InventoryError, Mark
from labctl.inventory.model import Inventory
from labctl.inventory.varfiles import trusted

PATIENCE = 300.0  # seconds: clouds answer slowly


def read_program(inventory: Inventory, path: Path) -> None:
    """Run an executable inventory with `--list` (and `--host NAME` where it gives no `_meta`)."""
    data = _run(path, "--list")
    mark = Mark(str(path), 1, 1)
    meta = data.pop("_meta", None)
    hostvars = meta.get("hostvars") if isinstance(meta, dict) else None
    if hostvars is not None and not isinstance(hostvars, dict):
        raise InventoryError(f"{path} --list: _meta.hostvars must be a mapping of hosts to variables")
    named: dict[str, None] = {}
    for name, content in data.items():
        group = {"hosts": content} if isinstance(content, list) else content
        if not isinstance(group, dict):
            raise InventoryError(f"{path} --list: group '{name}' must be a mapping or a list of hosts")
        if not group.keys() & {"hosts", "children", "vars"}:
            group = {"hosts": [name], "vars": group}
        named |= dict.fromkeys(_group(inventory, path, str(name), group))
    for host in named:
        given = _run(path, "--host", host) if hostvars is None else hostvars.get(host, {})
        if not isinstance(given, dict):
            raise InventoryError(f"{path}: the variables of host '{host}' must be a mapping")
        inventory.add_host(host, None, mark).take(trusted(given, mark))


def _group(inventory: Inventory, path: Path, name: str, group: dict[str, Any]) -> list[str]:
    mark = Mark(str(path), 1, 1)
    inventory.add_group(name, mark)
    for key, kind in (("hosts", list), ("children", list), ("vars", dict)):
        if not isinstance(group.get(key, kind()), kind):
            wanted = "a list" if kind is list else "a mapping"
            raise InventoryError(f"{path} --list: the {key} of group '{name}' must be {wanted}")
    hosts = [str(host) for host in group.get("hosts", [])]
    for host in hosts:
        inventory.add_host(host, name, mark)
    for child in group.get("children", []):
        inventory.add_child(name, str(child), mark)
    inventory.set_group_variables(name, trusted(group.get("vars", {}), mark), mark)
    return hosts


def _run(path: Path, *arguments: str) -> dict[str, Any]:
    command = f"{path} {' '.join(arguments)}"
    try:
        done = subprocess.run(
            [str(path.absolute()), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise InventoryError(
            f"{command} did not end within {PATIENCE:g} s", hint="is what it asks out of reach?"
        ) from None
    except OSError as error:
        raise InventoryError(
            f"the inventory program {path} cannot be run: {error.strerror}",
            hint="its first line must name an interpreter that is installed",
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InventoryError(
            f"{command} ended with exit status {done.returncode}", hint=said[-1] if said else None
        )
    if arguments[0] == "--host" and not done.stdout.strip():
        return {}
    try:
        data = json.loads(done.stdout)
    except ValueError as error:
        raise InventoryError(f"{command} did not print JSON: {error}") from None
    if not isinstance(data, dict):
        raise InventoryError(f"{command} must print a JSON object")
    return cast("dict[str, Any]", data)
