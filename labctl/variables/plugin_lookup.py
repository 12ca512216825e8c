"""`LookupBase`: what a lookup plugin inherits, and what it is handed."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import vault, yaml
from labctl.variables.plugin_errors import AnsibleError, AnsibleFileNotFound
from labctl.variables.plugin_tools import Display, boolean
from labctl.yaml import Text

if TYPE_CHECKING:
    from labctl.variables.scope import Scope


class Templates:
    """The `_templar` of a plugin: renders what the author of a playbook wrote, never what came from a node."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def available_variables(self) -> Mapping[str, Any]:
        found = {"ansible_search_path": self._scope.search_path("")[::2]}
        return self._scope if "ansible_search_path" in self._scope else ChainMap(found, self._scope)  # type: ignore[arg-type]

    @property
    def environment(self) -> Any:
        return self._scope.templar.environment

    def template(self, variable: Any, *_: Any, **__: Any) -> Any:
        return self._scope.render(variable)

    def is_template(self, data: Any) -> bool:
        return isinstance(data, Text) and ("{{" in data or "{%" in data)


class Loader:
    """The `_loader` of a plugin: files of the controller."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def get_basedir(self) -> str:
        base = self._scope.find("playbook_dir")
        return base if isinstance(base, str) else os.getcwd()

    def path_dwim(self, given: str) -> str:
        return os.path.abspath(os.path.join(self.get_basedir(), os.path.expanduser(given)))

    def path_exists(self, path: str) -> bool:
        return os.path.exists(self.path_dwim(path))

    def is_file(self, path: str) -> bool:
        return os.path.isfile(self.path_dwim(path)) or self.path_dwim(path) == os.devnull

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(self.path_dwim(path))

    def list_directory(self, path: str) -> list[str]:
        return os.listdir(self.path_dwim(path))

    def get_real_file(self, file_path: str, decrypt: bool = True) -> str:  # noqa: ARG002 - Ansible's argument
        path = self.path_dwim(file_path)
        if not os.path.exists(path):
            raise AnsibleFileNotFound(file_name=file_path)
        return path

    def get_text_file_contents(self, file_name: str, encoding: str | None = None) -> str:
        return self._get_file_contents(file_name)[0].decode(encoding or "utf-8")

    def _get_file_contents(self, file_name: str) -> tuple[bytes, bool]:
        try:
            path = Path(self.path_dwim(file_name))
            clear = vault.opened(path)
            return (path.read_bytes() if clear is None else clear), clear is None
        except OSError as error:
            raise AnsibleFileNotFound(f"{file_name}: {error.strerror}", file_name=file_name) from None

    def load_from_file(self, file_name: str, *_: Any, **__: Any) -> Any:
        return yaml.load(self.get_text_file_contents(file_name), file_name)

    def load(self, data: str, file_name: str = "<string>", *_: Any, **__: Any) -> Any:
        return yaml.load(data, file_name)


class LookupBase:
    """A plugin's class derives from this and has `run(terms, variables=None, **kwargs)`, which gives a list."""

    def __init__(self, loader: Any = None, templar: Any = None, **_: Any) -> None:
        self._loader = loader
        self._templar = templar
        self._display = Display()
        self._load_name = ""
        self._documented: dict[str, Mapping[str, Any]] = {}
        self._options: dict[str, Any] = {}

    def get_basedir(self, variables: Mapping[str, Any]) -> str:
        return str(variables["role_path"]) if "role_path" in variables else str(self._loader.get_basedir())

    def find_file_in_search_path(
        self, myvars: Mapping[str, Any], subdir: str | None, needle: str, ignore_missing: bool = False
    ) -> str | None:
        if os.path.isabs(os.path.expanduser(needle)):
            return os.path.expanduser(needle) if os.path.exists(os.path.expanduser(needle)) else None
        paths = myvars.get("ansible_search_path") or [self.get_basedir(myvars)]
        for base in (*paths, self._loader.get_basedir()):
            for path in (os.path.join(base, subdir or "", needle), os.path.join(base, needle)):
                if os.path.exists(path):
                    return os.path.abspath(path)
        if not ignore_missing:
            self._display.warning(f"Unable to find '{needle}' in expected paths")
        return None

    @staticmethod
    def _flatten(terms: Any) -> list[Any]:
        return [item for term in terms for item in (term if isinstance(term, list | tuple) else [term])]

    @staticmethod
    def _combine(a: Any, b: Any) -> list[Any]:
        return [LookupBase._flatten([x, y]) for x in a for y in b]

    @staticmethod
    def _flatten_hash_to_list(terms: Mapping[Any, Any]) -> list[dict[str, Any]]:
        return [{"key": key, "value": value} for key, value in terms.items()]

    # Options, as the plugin's DOCUMENTATION declares them.

    def declare(self, options: dict[str, Mapping[str, Any]]) -> None:
        self._documented = options

    def set_options(
        self,
        task_keys: Any = None,  # noqa: ARG002 - Ansible's argument
        var_options: Mapping[str, Any] | None = None,
        direct: Any = None,
    ) -> None:
        given = dict(direct or {})
        for name, about in self._documented.items():
            found = next((given[key] for key in (name, *about.get("aliases", ())) if key in given), None)
            if found is None:
                found = _elsewhere(about, var_options or {})
            if found is None and about.get("required") and not name.startswith("_"):
                raise AnsibleError(f"the option '{name}' is required")
            self._options[name] = _typed(name, found, about)

    def set_option(self, option: str, value: Any) -> None:
        self._options[option] = _typed(option, value, self._documented.get(option, {}))

    def get_option(self, option: str, hostvars: Any = None) -> Any:  # noqa: ARG002 - Ansible's argument
        if option not in self._options:
            if option not in self._documented:
                raise KeyError(f"Requested option {option} was not defined in configuration")
            self.set_options()
        return self._options[option]

    def get_options(self, hostvars: Any = None) -> dict[str, Any]:  # noqa: ARG002 - Ansible's argument
        return {name: self.get_option(name) for name in self._documented}

    def has_option(self, option: str) -> bool:
        return option in self._documented

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError


def prepare(plugin: Any, name: str, documentation: Any) -> None:
    """Tell a plugin its name and the options its documentation declares."""
    plugin._load_name = name  # noqa: SLF001 - where Ansible's plugins look for it
    if isinstance(plugin, LookupBase) and isinstance(documentation, str) and documentation.strip():
        declared = yaml.load(documentation, f"DOCUMENTATION of {name}")
        options = declared.get("options") if isinstance(declared, dict) else None
        plugin.declare(dict(options) if isinstance(options, dict) else {})


def _elsewhere(about: Mapping[str, Any], variables: Mapping[str, Any]) -> Any:
    """The value that a variable, else the environment, gives an option, else its default."""
    for entry in about.get("vars") or ():
        if entry.get("name") in variables:
            return variables[entry["name"]]
    for entry in about.get("env") or ():
        if (value := os.environ.get(str(entry.get("name")))) is not None:
            return value
    default = about.get("default")
    return str(default) if isinstance(default, Text) else default


def _typed(name: str, value: Any, about: Mapping[str, Any]) -> Any:
    if value is None:
        return None
    kind = str(about.get("type", "raw"))
    try:
        if kind in ("bool", "boolean"):
            value = boolean(value)
        elif kind in ("int", "integer"):
            value = int(value)
        elif kind == "float":
            value = float(value)
        elif kind in ("str", "string"):
            value = str(value)
        elif kind in ("path", "tmp", "tmppath"):
            value = os.path.expandvars(os.path.expanduser(str(value)))
        elif kind in ("list", "pathlist") and not isinstance(value, list):
            value = [part.strip() for part in str(value).split(":" if kind == "pathlist" else ",")]
        elif kind in ("dict", "dictionary") and not isinstance(value, Mapping):
            raise TypeError("it is no dict")
    except (TypeError, ValueError) as error:
        raise AnsibleError(f"the option '{name}' must be of type {kind}: {error}") from None
    choices = about.get("choices")
    if choices and value not in (choices if isinstance(choices, list) else list(choices)):
        raise AnsibleError(
            f"the option '{name}' must be one of {', '.join(map(str, choices))}, not {value!r}"
        )
    return value
