"""What a task type is, and how one is found and checked.

A task type is one file in a `tasks/` folder: a docstring, an `Arguments` dataclass whose fields are
its schema, and `run(args, ctx)`. `run` looks at the actual state and yields a `Change` for each
difference from the expected one; it returns the task's values as a dict. In a dry run the changes are
shown and not applied: `yield` then gives None. Reading is always allowed, changing only in `apply`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from labctl.errors import Mark, PlaybookError, UnknownValue, did_you_mean
from labctl.node.api import Completed, Node, Output
from labctl.paths import builtin


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between actual and expected state, and what removes it.

    `what` names it for a person ("content of /etc/motd"). `before` and `after` are shown by --diff:
    text, or anything JSON can hold. `unknown` says why the effect cannot be known without doing it."""

    what: str
    apply: Callable[[], Any]
    before: Any = None
    after: Any = None
    unknown: str | None = None


Steps = Generator[Change, Any, dict[str, Any]]


class Skip(Exception):
    """Raised by a task type that has nothing to do here; the task counts as skipped."""


class Context(Protocol):
    """What a task type may use of the run it is part of."""

    host: str
    check: bool
    diff: bool
    verbosity: int
    run_dir: Path
    mark: Mark | None
    timeout: float | None
    environment: Mapping[str, str]
    playbook_dir: Path

    @property
    def node(self) -> Node:
        """The host of this task as its become user; connected on first use."""

    @property
    def variables(self) -> Mapping[str, Any]:
        """Every variable of this host, rendered when read."""

    @property
    def shared(self) -> dict[str, Any]:
        """Lives as long as the run: running collectors, handles. Key it by task type."""

    def shell(
        self, command: str, *, stdin: bytes = b"", timeout: float | None = None, output: Output | None = None
    ) -> Completed:
        """Run a command line through the login shell of a plain SSH channel, with become, and without the
        agent: for hosts that have no Python (`raw`, `script`)."""

    def node_of(self, host: str) -> Node:
        """Another host of the inventory, by name, as the same become user."""

    def hosts(self, pattern: str) -> list[str]:
        """The inventory hosts a pattern names."""

    def vars_of(self, host: str) -> Mapping[str, Any]:
        """Every variable of another host, rendered when read (hostvars)."""

    def find(self, folder: str, name: str) -> Path:
        """A controller file as Ansible looks for it: role/<folder>, playbook/<folder>, playbook. PlaybookError
        when there is none."""

    def template(self, text: str, variables: Mapping[str, Any] | None = None) -> str:
        """Render template text with this host's variables (and these on top)."""

    def evaluate(self, expression: str) -> Any:
        """The value of a bare Jinja2 expression (`when`, `that`, `var`)."""

    def output(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Live output, shown as it comes."""

    def progress(self, message: str, fraction: float | None = None) -> None: ...

    def wait(self, seconds: float) -> None:
        """Sleep on the controller. Interrupted and TaskTimeout end it."""

    def phase(self, subject: str, name: str, seconds: float, **detail: Any) -> None: ...

    def warn(self, message: str) -> None: ...

    def on_close(self, close: Callable[[], str | None]) -> None:
        """Register what must be undone when the run ends or is interrupted; it returns what it undid, for
        the user to read, or None. Called in reverse order, once."""


def arg(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    aliases: Sequence[str] = (),
    choices: Sequence[Any] = (),
    free_form: bool = False,
    raw: bool = False,
    secret: bool = False,
) -> Any:
    """A field of an `Arguments` class.

    `free_form`: takes the text of `command: text`. `raw`: reaches the task untemplated (expressions).
    `secret`: never shown. A mutable default is copied. Without a default it is required."""
    metadata = {
        "doc": doc,
        "aliases": tuple(aliases),
        "choices": tuple(choices),
        "free_form": free_form,
        "raw": raw,
        "secret": secret,
    }
    if isinstance(default, list | dict | set):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata, kw_only=True)
    return dataclasses.field(default=default, metadata=metadata, kw_only=True)


@dataclass(kw_only=True)
class Args:
    """Base of every `Arguments` class. A class with `any_name = True` takes arguments of any name and
    finds them in `others` (set_fact)."""

    any_name: ClassVar[bool] = False
    required_one_of: ClassVar[Sequence[Sequence[str]]] = ()
    mutually_exclusive: ClassVar[Sequence[Sequence[str]]] = ()
    others: dict[str, Any] = dataclasses.field(default_factory=dict, metadata={"doc": "", "internal": True})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a task type."""

    name: str
    type: Any
    doc: str
    required: bool
    default: Any
    aliases: tuple[str, ...]
    choices: tuple[Any, ...]
    free_form: bool
    raw: bool
    secret: bool

    def type_name(self) -> str:
        return _type_name(self.type)


@dataclass(frozen=True)
class TaskType:
    """A task type found on disk. `on_controller`: its `run` never needs a node (debug, assert)."""

    name: str
    path: Path
    doc: str
    arguments: type[Args]
    run: Callable[[Any, Context], Steps | dict[str, Any]]
    parameters: Mapping[str, Parameter]
    on_controller: bool
    aliases: Mapping[str, str]

    @property
    def free_form(self) -> str | None:
        return next((p.name for p in self.parameters.values() if p.free_form), None)

    def check_names(self, given: Mapping[str, Any], mark_of: Callable[[str], Mark | None]) -> None:
        """Refuse unknown, doubled and missing arguments before any host is touched. PlaybookError."""
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
            both = [name for name in names if name in seen]
            if len(both) > 1:
                raise PlaybookError(
                    f"'{self.name}' takes only one of: {', '.join(both)}", mark=mark_of(both[1])
                )

    def bind(self, given: Mapping[str, Any], mark_of: Callable[[str], Mark | None]) -> Args:
        """The `Arguments` object for rendered values; a value of the wrong type is a PlaybookError."""
        self.check_names(given, mark_of)
        values: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in given.items():
            if name not in self.aliases:
                others[name] = value
                continue
            values[self.aliases[name]] = self.convert(name, value, mark_of(name))
        return self.arguments(**values, others=others)

    def convert(self, name: str, value: Any, mark: Mark | None) -> Any:
        """A rendered value as the type of the argument `name` (or an alias of it). PlaybookError."""
        parameter = self.parameters[self.aliases[name]]
        try:
            converted = coerce(value, parameter.type)
        except UnknownValue:
            raise
        except (TypeError, ValueError):
            raise PlaybookError(
                f"'{name}' of '{self.name}' must be {parameter.type_name()}, not {describe(value)}", mark=mark
            ) from None
        if parameter.choices and converted not in (*parameter.choices, None):
            raise PlaybookError(
                f"'{name}' of '{self.name}' must be one of {', '.join(map(str, parameter.choices))},"
                f" not {describe(value)}",
                mark=mark,
                hint=did_you_mean(str(value), map(str, parameter.choices)),
            )
        return converted


_TRUE = frozenset({"yes", "on", "true", "t", "y", "1"})
_FALSE = frozenset({"no", "off", "false", "f", "n", "0"})


def to_bool(value: Any) -> bool:
    """Ansible's reading of a boolean: yes/no, on/off, true/false, 1/0. ValueError for anything else."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE or value == 1:
        return True
    if text in _FALSE or value == 0:
        return False
    raise ValueError(value)


def coerce(value: Any, kind: Any) -> Any:
    """`value` as the annotated type `kind`, by Ansible's conversions; TypeError or ValueError when it
    cannot be one."""
    if kind is Any:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, inner)
    if origin is Literal:
        return next((choice for choice in inner if str(choice) == str(value)), value)
    if kind is bool:
        return to_bool(value)
    if kind is int:
        if isinstance(value, bool):
            raise TypeError(value)
        if isinstance(value, float) and not value.is_integer():
            raise ValueError(value)
        return int(value)
    if kind is float:
        if isinstance(value, bool):
            raise TypeError(value)
        return float(value)
    if kind is str:
        if isinstance(value, list | dict) or value is None:
            raise TypeError(value)
        return str(value)
    if origin is list or kind is list:
        return _coerce_list(value, inner[0] if inner else Any)
    if origin is dict or kind is dict:
        if not isinstance(value, Mapping):
            raise TypeError(value)
        return dict(value)
    return value


def _coerce_union(value: Any, members: Sequence[Any]) -> Any:
    if value is None and type(None) in members:
        return None
    kinds = [member for member in members if member is not type(None)]
    for kind in kinds:
        if typing.get_origin(kind) is None and kind is not Any and type(value) is kind:
            return value
    for kind in kinds:
        try:
            return coerce(value, kind)
        except (TypeError, ValueError):
            continue
    raise TypeError(value)


def _coerce_list(value: Any, item: Any) -> list[Any]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")] if value else []
    elif isinstance(value, int | float):
        value = [value]
    if not isinstance(value, list | tuple):
        raise TypeError(value)
    return [coerce(entry, item) for entry in value]


def _type_name(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(member) for member in inner if member is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    names = {
        str: "a string",
        int: "an integer",
        float: "a number",
        bool: "a boolean",
        dict: "a mapping",
        list: "a list",
    }
    if origin is list and inner and inner[0] is not Any:
        return f"a list of {_type_name(inner[0]).split(' ', 1)[-1]}s"
    return names.get(origin or kind, "any value")


def describe(value: Any) -> str:
    """A value with its type for an error message: "the string 'x'"."""
    if value is None:
        return "nothing"
    names = {str: "the string", bool: "the boolean", int: "the integer", float: "the number"}
    for kind in (bool, str, int, float):
        if isinstance(value, kind):
            return f"{names[kind]} {str(value)!r}" if kind is str else f"{names[kind]} {value}"
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(value)


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
    parameters = _parameters(arguments)
    aliases = {alias: p.name for p in parameters.values() for alias in (p.name, *p.aliases)}
    return TaskType(
        name=path.stem,
        path=path,
        doc=inspect.cleandoc(module.__doc__ or ""),
        arguments=arguments,
        run=run,
        parameters=parameters,
        on_controller=bool(getattr(module, "ON_CONTROLLER", False)),
        aliases=aliases,
    )


def _parameters(arguments: type[Args]) -> dict[str, Parameter]:
    hints = typing.get_type_hints(arguments)
    found: dict[str, Parameter] = {}
    for field in dataclasses.fields(arguments):
        meta = field.metadata
        if meta.get("internal"):
            continue
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = None if required else field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found[field.name.rstrip("_")] = Parameter(
            name=field.name,
            type=hints[field.name],
            doc=meta.get("doc", ""),
            required=required,
            default=default,
            aliases=(
                *meta.get("aliases", ()),
                *((field.name.rstrip("_"),) if field.name.endswith("_") else ()),
            ),
            choices=meta.get("choices", ()),
            free_form=meta.get("free_form", False),
            raw=meta.get("raw", False),
            secret=meta.get("secret", False),
        )
    return {parameter.name: parameter for parameter in found.values()}


class Registry:
    """The task types a run can use: the built-in ones, and `tasks/` folders beside the playbook, which
    win over built-in ones of the same name."""

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.folders = [*folders, builtin("tasks")]

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
        """The task type `name` ('ansible.builtin.' and 'labctl.' prefixes are taken off)."""
        short = re.sub(r"^(ansible\.(builtin|legacy)|labctl)\.", "", name)
        for folder in self.folders:
            path = folder / f"{short}.py"
            if path.is_file() and not short.startswith("_"):
                return load(path)
        raise PlaybookError(
            f"unknown task type '{name}'",
            mark=mark,
            hint=did_you_mean(short, self.names()) or "labctl doc --list names them all",
        )
