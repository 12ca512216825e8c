"""The schema of a task type: its `Arguments` class, and what is known of each argument."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from labctl.records import dataclass
from labctl.task_types.coercion import choices_of, type_name


def arg(
    default: Any = dataclasses.MISSING,
    *,
    doc: str,
    aliases: Sequence[str] = (),
    choices: Sequence[Any] = (),
    free_form: bool = False,
    raw: bool = False,
    secret: bool = False,
    check: Callable[[Any], object] | None = None,
) -> Any:
    """A field of an `Arguments` class.

    `free_form`: takes the text of `command: text`. `raw`: reaches the task untemplated (expressions).
    `secret`: never shown. `check` raises PlaybookError for a value that its type allows and that makes no sense: before any host
    is touched, where the value is known then. A mutable default is copied. Without a default it is required."""
    metadata = {
        "doc": doc,
        "aliases": tuple(aliases),
        "choices": tuple(choices),
        "free_form": free_form,
        "raw": raw,
        "secret": secret,
        "check": check,
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
    check: Callable[[Any], object] | None = None

    def type_name(self) -> str:
        return type_name(self.type)

    def allowed(self) -> tuple[Any, ...]:
        """The values it takes, where they are few enough to be listed."""
        return self.choices or choices_of(self.type)


def parameters_of(arguments: type[Args]) -> dict[str, Parameter]:
    """The arguments an `Arguments` class declares, by name."""
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
            check=meta.get("check"),
        )
    return {parameter.name: parameter for parameter in found.values()}
