"""Where labctl's own files are: built-in tasks, collectors, workloads, playbooks; caches and state."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def builtin(folder: str) -> Path:
    """The built-in `tasks`, `collectors`, `workloads`, `playbooks` or `inventories` folder: in a checkout beside the
    package, in an installed wheel inside it."""
    beside = _PACKAGE.parent / folder
    return beside if (_PACKAGE.parent / "pyproject.toml").exists() else _PACKAGE / "builtin" / folder


def own_or_builtin(name: str) -> str:
    """A playbook or inventory as a checkout calls it (`playbooks/facts.yml`, `inventories/lab`): the one below
    this folder when there is one, else labctl's own, so that an installed labctl takes the same commands."""
    path = Path(name)
    if path.parts[:1] in (("playbooks",), ("inventories",)) and not path.exists():
        candidate = builtin(path.parts[0]).joinpath(*path.parts[1:])
        if candidate.exists():
            return str(candidate)
    return name


def cache_dir() -> Path:
    """Rebuildable things (root file systems, images): $LABCTL_CACHE, else /var/cache/labctl for root,
    else ~/.cache/labctl."""
    return _base("LABCTL_CACHE", "/var/cache/labctl", "~/.cache/labctl")


def state_dir() -> Path:
    """What must survive between commands (labs that are up): $LABCTL_STATE, else /var/lib/labctl for
    root, else ~/.local/state/labctl."""
    return _base("LABCTL_STATE", "/var/lib/labctl", "~/.local/state/labctl")


def _base(variable: str, for_root: str, for_user: str) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen)
    return Path(for_root) if os.geteuid() == 0 else Path(for_user).expanduser()
