"""`config`: the settings that playbooks ask for by Ansible's names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from labctl.errors import VariableError, did_you_mean

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope

_ROLES = "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles"

# name: (variable of the environment, value when it is not set). A list is written with ':' between its parts.
_SETTINGS: dict[str, tuple[str, Any]] = {
    "ANSIBLE_FORCE_COLOR": ("ANSIBLE_FORCE_COLOR", False),
    "ANSIBLE_NOCOLOR": ("ANSIBLE_NOCOLOR", False),
    "COLOR_CHANGED": ("ANSIBLE_COLOR_CHANGED", "yellow"),
    "COLOR_ERROR": ("ANSIBLE_COLOR_ERROR", "red"),
    "COLOR_OK": ("ANSIBLE_COLOR_OK", "green"),
    "COLOR_SKIP": ("ANSIBLE_COLOR_SKIP", "cyan"),
    "COLOR_UNREACHABLE": ("ANSIBLE_COLOR_UNREACHABLE", "bright red"),
    "COLOR_WARN": ("ANSIBLE_COLOR_WARN", "bright purple"),
    "DEFAULT_BECOME": ("ANSIBLE_BECOME", False),
    "DEFAULT_BECOME_METHOD": ("ANSIBLE_BECOME_METHOD", "sudo"),
    "DEFAULT_BECOME_USER": ("ANSIBLE_BECOME_USER", "root"),
    "DEFAULT_FORCE_HANDLERS": ("ANSIBLE_FORCE_HANDLERS", False),
    "DEFAULT_FORKS": ("ANSIBLE_FORKS", 5),
    "DEFAULT_GATHERING": ("ANSIBLE_GATHERING", "implicit"),
    "DEFAULT_HASH_BEHAVIOUR": ("ANSIBLE_HASH_BEHAVIOUR", "replace"),
    "DEFAULT_MANAGED_STR": ("ANSIBLE_MANAGED_STR", "Ansible managed"),
    "DEFAULT_POLL_INTERVAL": ("ANSIBLE_POLL_INTERVAL", 15),
    "DEFAULT_PRIVATE_KEY_FILE": ("ANSIBLE_PRIVATE_KEY_FILE", None),
    "DEFAULT_REMOTE_USER": ("ANSIBLE_REMOTE_USER", None),
    "DEFAULT_ROLES_PATH": ("ANSIBLE_ROLES_PATH", _ROLES.split(":")),
    "DEFAULT_STRATEGY": ("ANSIBLE_STRATEGY", "linear"),
    "DEFAULT_TIMEOUT": ("ANSIBLE_TIMEOUT", 10),
    "DEFAULT_TRANSPORT": ("ANSIBLE_TRANSPORT", "ssh"),
    "DEFAULT_UNDEFINED_VAR_BEHAVIOR": ("ANSIBLE_ERROR_ON_UNDEFINED_VARS", True),
    "HOST_KEY_CHECKING": ("ANSIBLE_HOST_KEY_CHECKING", True),
    "TAGS_RUN": ("ANSIBLE_RUN_TAGS", []),
    "TAGS_SKIP": ("ANSIBLE_SKIP_TAGS", []),
}


def config(
    scope: Scope, terms: list[Any], *, on_missing: str = "error", show_origin: bool = False, **plugin: Any
) -> list[Any]:
    """`on_missing`: error, warn or skip. `show_origin`: pairs of the value and where it came from."""
    if on_missing not in ("error", "warn", "skip"):
        raise VariableError(f"on_missing: error, warn or skip, not '{on_missing}'")
    if any(plugin.values()):
        raise VariableError("labctl has no settings of Ansible's plugins", hint="ask for a global setting")
    found: list[Any] = []
    for term in terms:
        if term not in _SETTINGS:
            hint = did_you_mean(str(term), _SETTINGS)
            if on_missing == "error":
                raise VariableError(f"there is no setting '{term}'", hint=hint)
            if on_missing == "warn":
                scope.templar.warn(f"lookup 'config': there is no setting '{term}'", None)
            continue
        value, origin = _value(term)
        found.append([value, origin] if show_origin else value)
    return found


def _value(name: str) -> tuple[Any, str]:
    variable, default = _SETTINGS[name]
    text = os.environ.get(variable)
    value, origin = (default, "default") if text is None else (text, f"env: {variable}")
    if isinstance(default, list):
        parts = value.split(":" if "PATH" in name else ",") if isinstance(value, str) else value
        value = [os.path.expanduser(part) for part in parts if part]
    elif isinstance(default, bool):
        value = str(value).lower() in ("1", "true", "yes", "on", "y", "t")
    elif isinstance(default, int) and text is not None:
        value = int(text) if text.isdigit() else default
    return value, origin


LOOKUPS: dict[str, Lookup] = {"config": config}
