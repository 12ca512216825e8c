"""Filters, tests and lookups of the user's own, in the files that Ansible takes: filter_plugins/,
test_plugins/ and lookup_plugins/ beside a playbook or in a role."""

from __future__ import annotations

import builtins
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment
from jinja2.nodes import EvalContext
from jinja2.runtime import Context

from labctl import configuration
from labctl.errors import LabctlError, VariableError
from labctl.records import dataclass, field
from labctl.variables.lazy import plain

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope

_KINDS = ("filter", "test", "lookup")
_JINJA = (Environment, Context, EvalContext)


@dataclass
class Added:
    """What the files of some folders define; `problems` names the files that could not be read."""

    filters: dict[str, Callable[..., Any]] = field(default_factory=dict)
    tests: dict[str, Callable[..., Any]] = field(default_factory=dict)
    lookups: dict[str, Lookup] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Plugins:
    """The folders looked into so far."""

    def __init__(self) -> None:
        self._seen: set[Path] = set()
        self.problems: list[str] = []

    def add(self, base: Path) -> Added | None:
        """The plugins in the three folders of a playbook or role; None when they are known already."""
        folders = [*_everywhere(), *((kind, base / f"{kind}_plugins") for kind in _KINDS)]
        fresh = [(kind, path.resolve()) for kind, path in folders if path.is_dir()]
        fresh = [(kind, path) for kind, path in fresh if path not in self._seen]
        if not fresh:
            return None
        added = Added()
        for kind, folder in fresh:
            self._seen.add(folder)
            for path in sorted(folder.glob("*.py")):
                if path.name != "__init__.py":
                    _read(kind, path, added)
        self.problems += added.problems
        return added


def _everywhere() -> Iterator[tuple[str, Path]]:
    """The folders that the configuration names (ANSIBLE_FILTER_PLUGINS, …TEST…, …LOOKUP…), or the user's own."""
    for kind in _KINDS:
        own = Path(f"~/.ansible/plugins/{kind}").expanduser()
        yield from ((kind, folder) for folder in configuration.current().paths(f"{kind}_plugins") or [own])


def _read(kind: str, path: Path, added: Added) -> None:
    try:
        if kind == "lookup":
            added.lookups[path.stem] = _lookup(load(path), path)
            return
        names = {"filter": ("FilterModule", "filters"), "test": ("TestModule", "tests")}[kind]
        module = load(path)
        if not hasattr(module, names[0]):
            raise VariableError(f"it has no class {names[0]}")
        found: Mapping[str, Callable[..., Any]] = getattr(getattr(module, names[0])(), names[1])()
        table = added.filters if kind == "filter" else added.tests
        for name, function in found.items():
            table[name] = _guarded(function, f"{kind} '{name}' ({path})", boolean=kind == "test")
    except Exception as error:
        reason = error.message if isinstance(error, LabctlError) else _reason(error)
        added.problems.append(f"{path}: this {kind} plugin cannot be loaded: {reason}")


def load(path: Path) -> types.ModuleType:
    """The module in a plugin's file. What it imports of Ansible is labctl's small stand-in, now and
    whenever its code runs; no other module sees it."""
    from labctl.variables.plugin_modules import importing

    # Ansible knows such a file by this name; it must not hide a module of the same name.
    module = types.ModuleType(f"labctl_plugins.{path.parent.name}.{path.stem}")
    module.__file__ = str(path)
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": importing}
    sys.modules[module.__name__] = module
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - the plugin is a program of the playbook's author
    return module


def _plain(value: Any) -> Any:
    return value if isinstance(value, _JINJA) else plain(value)


def _guarded(function: Callable[..., Any], what: str, *, boolean: bool) -> Callable[..., Any]:
    """`function` with plain arguments, whose every failure is told as one of the plugin."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        given = [_plain(argument) for argument in args]
        named = {name: _plain(argument) for name, argument in kwargs.items()}
        try:
            result = function(*given, **named)
            result = list(result) if hasattr(type(result), "__next__") else result
        except Exception as error:
            raise _failure(what, error) from error
        return bool(result) if boolean else result

    return called


def _lookup(module: types.ModuleType, path: Path) -> Lookup:
    if not hasattr(module, "LookupModule"):
        raise VariableError("it has no class LookupModule")
    return partial(_run_lookup, module, path)


def _run_lookup(
    module: types.ModuleType, path: Path, scope: Scope, terms: list[Any], **options: Any
) -> list[Any]:
    from labctl.variables.plugin_lookup import Loader, Templates, prepare

    given = [_plain(term) for term in terms]
    named = {name: _plain(value) for name, value in options.items()}
    try:
        plugin = module.LookupModule(loader=Loader(scope), templar=Templates(scope))
        prepare(plugin, path.stem, module.__dict__.get("DOCUMENTATION", ""))
        found = plugin.run(given, variables=Templates(scope).available_variables, **named)
    except Exception as error:
        raise _failure(f"lookup '{path.stem}' ({path})", error) from error
    if not isinstance(found, list | tuple):
        raise VariableError(f"lookup '{path.stem}' ({path}): it returned no list but {type(found).__name__}")
    return list(found)


def _failure(what: str, error: Exception) -> VariableError:
    if isinstance(error, VariableError):
        error.message = f"{what}: {error.message}"
        return error
    return VariableError(f"{what}: {_reason(error)}")


def _reason(error: Exception) -> str:
    text = str(error)
    named = type(error).__module__ == "builtins" and not isinstance(error, ValueError | RuntimeError)
    return f"{type(error).__name__}: {text}" if named or not text else text
