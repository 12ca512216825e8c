"""Finding task types in `tasks/` folders, and checking the arguments they are given."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from labctl.errors import Mark, PlaybookError, UnknownValue, did_you_mean
from labctl.paths import builtin
from labctl.records import dataclass
from labctl.task_types.coercion import choice, coerce, describe
from labctl.task_types.context import Context, Steps
from labctl.task_types.schema import Args, Parameter, parameters_of
from labctl.yaml import Text

_PREFIX = re.compile(r"^(ansible\.(builtin|legacy|posix)|community\.general|labctl)\.")


VARIABLE = "_variable_params"  # Ansible's name for `args: "{{ a_mapping }}"`


@dataclass(frozen=True)
class TaskType:
    """A task type found on disk. `on_controller`: its `run` never needs a node (debug, assert); `waits`: it takes
    its time there all the same (pause); `computes`: it uses nothing of the run but its arguments, the host's variables,
    templates, the task's mark and the verbosity. `run_once`: it
    runs for the first host only, as it is for all of them (add_host). `detaches`: all it does is one command,
    which under `async` becomes a process of its own on the node. `expression`: the template that will name the
    task type this one stands for."""

    name: str
    path: Path
    doc: str
    arguments: type[Args]
    run: Callable[[Any, Context], Steps | dict[str, Any]]
    parameters: Mapping[str, Parameter]
    on_controller: bool
    aliases: Mapping[str, str]
    run_once: bool = False
    expression: Text | None = None
    detaches: bool = False
    waits: bool = False
    computes: bool = False

    @property
    def free_form(self) -> str | None:
        return next((p.name for p in self.parameters.values() if p.free_form), None)

    def check_names(self, given: Mapping[str, Any], mark_of: Callable[[str], Mark | None]) -> None:
        """Refuse unknown, doubled and missing arguments before any host is touched. PlaybookError."""
        if VARIABLE in given:  # what else there is can only be known on the host
            return
        seen: dict[str, str] = {}
        for name in given:
            canonical = self.aliases.get(name)
            if canonical is None:
                if self.arguments.any_name:
                    continue
                raise PlaybookError(
                    f"'{self.name}' has no argument '{name}'",
                    mark=mark_of(name),
                    hint=did_you_mean(name, self.aliases) or f"its arguments: {', '.join(self.parameters)}",
                )
            if canonical in seen:
                raise PlaybookError(
                    f"'{name}' and '{seen[canonical]}' are the same argument of '{self.name}'",
                    mark=mark_of(name),
                )
            seen[canonical] = name
        for parameter in self.parameters.values():
            if parameter.required and parameter.name not in seen:
                raise PlaybookError(f"'{self.name}' needs the argument '{parameter.name}'", mark=mark_of(""))
        for names in self.arguments.required_one_of:
            if not any(name in seen for name in names):
                raise PlaybookError(f"'{self.name}' needs one of: {', '.join(names)}", mark=mark_of(""))
        for names in self.arguments.mutually_exclusive:
            both = [name for name in names if name in seen and not _may_be_omitted(given[seen[name]])]
            if len(both) > 1:
                raise PlaybookError(
                    f"'{self.name}' takes only one of: {', '.join(both)}", mark=mark_of(both[1])
                )

    def bind(
        self, given: Mapping[str, Any], mark_of: Callable[[str], Mark | None], *, checked: bool = False
    ) -> Args:
        """The `Arguments` object for rendered values; a value of the wrong type is a PlaybookError. `checked`:
        `check_names` has seen these names."""
        if not checked:
            self.check_names(given, mark_of)
        values: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in given.items():
            if (canonical := self.aliases.get(name)) is None:
                others[name] = value
            elif (parameter := self.parameters[canonical]).type is Any and not parameter.choices:
                values[canonical] = value
            else:
                values[canonical] = self.convert(name, value, mark_of(name))
        return self.arguments(**values, others=others)

    def convert(self, name: str, value: Any, mark: Mark | None) -> Any:
        """A rendered value as the type of the argument `name` (or an alias of it). PlaybookError."""
        parameter = self.parameters[self.aliases[name]]
        try:
            converted = coerce(value, parameter.type)
            if parameter.choices and converted is not None:
                converted = choice(value if isinstance(value, bool) else converted, parameter.choices)
        except UnknownValue:
            raise
        except (TypeError, ValueError):
            allowed = parameter.allowed()
            expected = f"one of {', '.join(map(str, allowed))}" if allowed else parameter.type_name()
            raise PlaybookError(
                f"'{name}' of '{self.name}' must be {expected}, not {describe(value)}",
                mark=mark,
                hint=did_you_mean(str(value), map(str, allowed)),
            ) from None
        if parameter.check is not None and converted is not None:
            try:
                parameter.check(converted)
            except PlaybookError as error:
                raise PlaybookError(error.message, mark=error.mark or mark, hint=error.hint) from None
        return converted


def _may_be_omitted(value: Any) -> bool:
    """Whether it takes a host to know if an argument is given at all: `content: "{{ text | default(omit) }}"`."""
    return isinstance(value, Text) and "{{" in value and "omit" in value


def short_name(name: str) -> str:
    """A task type's own name: without the collection that has one of this name in Ansible."""
    return _PREFIX.sub("", name)


@cache
def load(path: Path) -> TaskType:
    """Load the task type in a file; PlaybookError when the file is not one."""
    spec = importlib.util.spec_from_file_location(f"labctl_task_{path.stem}_{abs(hash(path)):x}", path)
    if spec is None or spec.loader is None:
        raise PlaybookError(f"{path}: cannot be loaded as a task type")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise PlaybookError(f"{path}: this task type cannot be loaded: {error}") from error
    arguments, run = getattr(module, "Arguments", None), getattr(module, "run", None)
    if not (inspect.isclass(arguments) and issubclass(arguments, Args) and callable(run)):
        raise PlaybookError(f"{path}: a task type needs a dataclass 'Arguments(Args)' and a function 'run'")
    parameters = parameters_of(arguments)
    aliases = {alias: p.name for p in parameters.values() for alias in (p.name, *p.aliases)}
    return TaskType(
        name=path.stem,
        path=path,
        doc=inspect.cleandoc(module.__doc__ or ""),
        arguments=arguments,
        run=run,
        parameters=parameters,
        on_controller=bool(getattr(module, "ON_CONTROLLER", False)),
        detaches=bool(getattr(module, "DETACHES", False)),
        waits=bool(getattr(module, "WAITS", False)),
        computes=bool(getattr(module, "COMPUTES", False)),
        run_once=bool(getattr(module, "RUN_ONCE", False)),
        aliases=aliases,
    )


class Registry:
    """The task types a run can use: the built-in ones, and `tasks/` folders beside the playbook, which
    win over built-in ones of the same name. `modules`: Ansible's, found beside the playbook, which do not run
    here."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.folders = [*folders, builtin("tasks")]
        self.modules: dict[str, Path] = {}

    @cache  # noqa: B019 - a registry lives as long as the run
    def names(self) -> frozenset[str]:
        return frozenset(
            path.stem
            for folder in self.folders
            if folder.is_dir()
            for path in folder.glob("*.py")
            if not path.stem.startswith("_")
        )

    def get(self, name: str, mark: Mark | None = None) -> TaskType:
        """The task type `name`, in any form `short_name` knows. PlaybookError for an unknown one."""
        short = short_name(name)
        for folder in self.folders:
            path = folder / f"{short}.py"
            if path.is_file() and not short.startswith("_"):
                return load(path)
        if short in self.modules:
            raise PlaybookError(
                f"'{name}' is a module for Ansible ({self.modules[short]}), and labctl does not run those",
                mark=mark,
                hint=f"a task type of this name can take its place: tasks/{short}.py beside the playbook",
            )
        raise PlaybookError(
            f"unknown task type '{name}'",
            mark=mark,
            hint=did_you_mean(short, self.names()) or "labctl doc --list names them all",
        )
