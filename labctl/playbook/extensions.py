"""What Ansible loads beside a playbook and in a role, and labctl does not: modules, and plugins of most kinds."""

from __future__ import annotations

from pathlib import Path

from labctl.playbook.loader import Loader

_MODULES = ("library", "action_plugins")
_ENDINGS = ("", ".py", ".sh", ".pl", ".rb", ".ps1")
_IGNORED = (
    "become_plugins",
    "cache_plugins",
    "callback_plugins",
    "connection_plugins",
    "inventory_plugins",
    "module_utils",
    "shell_plugins",
    "strategy_plugins",
    "terminal_plugins",
    "vars_plugins",
)


def notice(folder: Path, loader: Loader) -> None:
    """Learn which modules stand in the folder of a playbook or role, so that a task that names one is refused
    with the reason; and warn of what is there in vain."""
    registry, warn = loader.registry, loader.problems.warn
    for name in _MODULES:
        for path in _programs(folder / name):
            if path in registry.modules.values():
                continue
            registry.modules.setdefault(path.stem, path)
            if path.stem in registry.names():
                warn(f"{path} is ignored: '{path.stem}' is a task type of labctl's", None)
    for name in _IGNORED:
        if _programs(folder / name):
            what = name.replace("_plugins", " plugins").replace("_", " ")
            warn(f"{folder / name} is ignored: labctl loads no {what}", None)


def _programs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.is_file() and path.suffix in _ENDINGS)
    return sorted(path for path in found if not path.name.startswith((".", "_")))
