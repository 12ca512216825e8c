"""Where labctl's own files are: built-in tasks, collectors, workloads, playbooks; caches and state."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def builtin(folder: str) -> Path:
    """The built-in `tasks`, `collectors`, `workloads` or `playbooks` folder: in a checkout beside the
    package, in an installed wheel inside it."""
    beside = _PACKAGE.parent / folder
    return beside if (_PACKAGE.parent / "pyproject.toml").exists() else _PACKAGE / "builtin" / folder


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
