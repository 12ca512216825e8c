"""Settings that Ansible's users keep in `ansible.cfg` and in ANSIBLE_* variables of the environment.

Only what labctl has too is read; other settings are ignored, as Ansible ignores what it does not know. The
environment wins over the file, the command line over both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from labctl.errors import UsageError
from labctl.records import dataclass, field

# name: section and key of the file, variable of the environment
_SETTINGS: dict[str, tuple[str, str, str]] = {
    "any_errors_fatal": ("defaults", "any_errors_fatal", "ANSIBLE_ANY_ERRORS_FATAL"),
    "ask_become_pass": ("privilege_escalation", "become_ask_pass", "ANSIBLE_BECOME_ASK_PASS"),
    "ask_pass": ("defaults", "ask_pass", "ANSIBLE_ASK_PASS"),
    "become": ("privilege_escalation", "become", "ANSIBLE_BECOME"),
    "become_method": ("privilege_escalation", "become_method", "ANSIBLE_BECOME_METHOD"),
    "become_password_file": (
        "defaults",
        "become_password_file",
        "ANSIBLE_BECOME_PASSWORD_FILE",
    ),
    "become_user": ("privilege_escalation", "become_user", "ANSIBLE_BECOME_USER"),
    "connection_password_file": (
        "defaults",
        "connection_password_file",
        "ANSIBLE_CONNECTION_PASSWORD_FILE",
    ),
    "diff": ("diff", "always", "ANSIBLE_DIFF_ALWAYS"),
    "error_on_missing_handler": (
        "defaults",
        "error_on_missing_handler",
        "ANSIBLE_ERROR_ON_MISSING_HANDLER",
    ),
    "filter_plugins": ("defaults", "filter_plugins", "ANSIBLE_FILTER_PLUGINS"),
    "force_handlers": ("defaults", "force_handlers", "ANSIBLE_FORCE_HANDLERS"),
    "forks": ("defaults", "forks", "ANSIBLE_FORKS"),
    "gathering": ("defaults", "gathering", "ANSIBLE_GATHERING"),
    "hash_behaviour": ("defaults", "hash_behaviour", "ANSIBLE_HASH_BEHAVIOUR"),
    "host_key_checking": ("defaults", "host_key_checking", "ANSIBLE_HOST_KEY_CHECKING"),
    "inventory": ("defaults", "inventory", "ANSIBLE_INVENTORY"),
    "interpreter_python": ("defaults", "interpreter_python", "ANSIBLE_PYTHON_INTERPRETER"),
    "lookup_plugins": ("defaults", "lookup_plugins", "ANSIBLE_LOOKUP_PLUGINS"),
    "private_key_file": ("defaults", "private_key_file", "ANSIBLE_PRIVATE_KEY_FILE"),
    "remote_port": ("defaults", "remote_port", "ANSIBLE_REMOTE_PORT"),
    "remote_user": ("defaults", "remote_user", "ANSIBLE_REMOTE_USER"),
    "roles_path": ("defaults", "roles_path", "ANSIBLE_ROLES_PATH"),
    "run_tags": ("tags", "run", "ANSIBLE_RUN_TAGS"),
    "skip_tags": ("tags", "skip", "ANSIBLE_SKIP_TAGS"),
    "ssh_args": ("ssh_connection", "ssh_args", "ANSIBLE_SSH_ARGS"),
    "ssh_common_args": ("ssh_connection", "ssh_common_args", "ANSIBLE_SSH_COMMON_ARGS"),
    "ssh_extra_args": ("ssh_connection", "ssh_extra_args", "ANSIBLE_SSH_EXTRA_ARGS"),
    "strategy": ("defaults", "strategy", "ANSIBLE_STRATEGY"),
    "task_timeout": ("defaults", "task_timeout", "ANSIBLE_TASK_TIMEOUT"),
    "test_plugins": ("defaults", "test_plugins", "ANSIBLE_TEST_PLUGINS"),
    "timeout": ("defaults", "timeout", "ANSIBLE_TIMEOUT"),
    "vault_identity_list": ("defaults", "vault_identity_list", "ANSIBLE_VAULT_IDENTITY_LIST"),
    "vault_password_file": ("defaults", "vault_password_file", "ANSIBLE_VAULT_PASSWORD_FILE"),
}
_TRUE = ("yes", "on", "1", "true", "t", "y")
_ROLE_FOLDERS = ("~/.ansible/roles", "/usr/share/ansible/roles", "/etc/ansible/roles")


@dataclass(frozen=True)
class Configuration:
    """What file and environment say. `path`: the file that was read."""

    path: Path | None = None
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """The setting as written, None when it is given nowhere or is empty."""
        section, key, variable = _SETTINGS[name]
        found = self.environment.get(variable) or self.sections.get(section, {}).get(key)
        return found.strip() or None if found else None

    def boolean(self, name: str) -> bool | None:
        text = self.text(name)
        return None if text is None else text.lower() in _TRUE

    def number(self, name: str) -> int | None:
        """UsageError when it is none."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            section, key, variable = _SETTINGS[name]
            place = variable if self.environment.get(variable) else f"{self.path}: [{section}] {key}"
            raise UsageError(f"{place} must be a whole number, not '{text}'") from None

    def paths(self, name: str, separator: str = ":") -> list[Path]:
        """The setting's paths; relative ones start at the file's folder, or here for the environment's."""
        variable = _SETTINGS[name][2]
        base = Path.cwd() if self.environment.get(variable) or self.path is None else self.path.parent
        found = []
        for part in (self.text(name) or "").split(separator):
            if part.strip():
                text = part.strip().replace("{{CWD}}", str(Path.cwd())).replace("{{ CWD }}", str(Path.cwd()))
                found.append(base / Path(os.path.expandvars(text)).expanduser())
        return found

    def role_folders(self) -> list[Path]:
        """Where roles are besides those of the playbook."""
        return self.paths("roles_path") or [Path(folder).expanduser() for folder in _ROLE_FOLDERS]


def load(environment: Mapping[str, str], folder: Path) -> Configuration:
    """$ANSIBLE_CONFIG, else ansible.cfg in `folder`, else ~/.ansible.cfg, else /etc/ansible/ansible.cfg.
    UsageError when it cannot be read."""
    for path in _candidates(environment, folder):
        if not path.is_file():
            continue
        import configparser

        parser = configparser.ConfigParser(inline_comment_prefixes=(";",), interpolation=None, strict=False)
        try:
            parser.read_string(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            raise UsageError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
        return Configuration(path, {name: dict(parser[name]) for name in parser.sections()}, environment)
    return Configuration(environment=environment)


def _candidates(environment: Mapping[str, str], folder: Path) -> list[Path]:
    chosen = environment.get("ANSIBLE_CONFIG")
    if chosen:
        path = Path(chosen).expanduser()
        return [path / "ansible.cfg" if path.is_dir() else path]
    return [folder / "ansible.cfg", Path("~/.ansible.cfg").expanduser(), Path("/etc/ansible/ansible.cfg")]


def current() -> Configuration:
    """The configuration of this process, for the folder it works in."""
    ours = {key: value for key, value in os.environ.items() if key.startswith("ANSIBLE_")}
    return _current(tuple(sorted(ours.items())), Path.cwd())


@cache
def _current(environment: tuple[tuple[str, str], ...], folder: Path) -> Configuration:
    return load(dict(environment), folder)
