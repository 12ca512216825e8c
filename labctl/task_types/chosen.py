"""A task type whose name is a template (`action: "{{ ansible_facts.pkg_mgr }} name=git"`): known on the host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from labctl.errors import PlaybookError
from labctl.records import dataclass
from labctl.task_types.context import Context
from labctl.task_types.registry import TaskType
from labctl.task_types.schema import Args, arg, parameters_of
from labctl.yaml import Text

_TEXT = "_raw_params"  # Ansible's name for the text of `command: text`


@dataclass(kw_only=True)
class Arguments(Args):
    any_name: ClassVar[bool] = True
    _raw_params: str | None = arg(None, doc="The text of `command: text`.", free_form=True)


def chosen(expression: Text) -> TaskType:
    """What stands for the task type that a template will name. It takes any argument and never runs."""
    return TaskType(
        name=expression,
        path=Path(__file__),
        doc="",
        arguments=Arguments,
        run=_unchosen,
        parameters=parameters_of(Arguments),
        on_controller=False,
        aliases={_TEXT: _TEXT},
        expression=expression,
    )


def arguments_of(actual: TaskType, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given before the task type was known, under its own names. PlaybookError for text that it
    does not take."""
    named = {name: value for name, value in given.items() if name != _TEXT}
    if (text := given.get(_TEXT)) is not None:
        if actual.free_form is None:
            raise PlaybookError(f"the arguments of '{actual.name}' are names with values, not '{text}'")
        named[actual.free_form] = text
    return named


def _unchosen(_args: Args, _ctx: Context) -> dict[str, Any]:
    raise AssertionError
