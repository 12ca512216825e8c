"""Task types that Ansible or its collections have and labctl has not.

A role for many systems names some of them for hosts it never meets here. Such a task is read like any
other, takes any argument, and fails only when a host reaches it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from labctl.errors import TaskFailed
from labctl.records import dataclass
from labctl.task_types.context import Context
from labctl.task_types.registry import TaskType
from labctl.task_types.schema import Args, arg, parameters_of

NAMES = frozenset({"apt_key", "dnf", "dnf5", "rpm_key", "subversion", "yum", "yum_repository"})
_OF_COLLECTION = re.compile(r"[a-z_]\w*\.[a-z_]\w*\.[\w.]+")


@dataclass(kw_only=True)
class Arguments(Args):
    any_name: ClassVar[bool] = True
    _raw_params: str | None = arg(None, doc="What stands behind the name as text.", free_form=True, raw=True)


def is_foreign(name: Any) -> bool:
    """Whether a name can only be that of a task type labctl has not: one of ansible-core's, or a
    collection's."""
    return isinstance(name, str) and (name in NAMES or _OF_COLLECTION.fullmatch(name) is not None)


def foreign(name: str) -> TaskType:
    """A task type of this name that fails when it runs."""

    def run(_args: Arguments, _ctx: Context) -> dict[str, Any]:
        hint = (
            "labctl doc --list names those it has; a file of this name in tasks/ beside the playbook adds it"
        )
        raise TaskFailed(f"labctl has no task type '{name}'", hint=hint)

    return TaskType(
        name=name,
        path=Path(__file__),
        doc="",
        arguments=Arguments,
        run=run,
        parameters=parameters_of(Arguments),
        on_controller=True,
        aliases={"_raw_params": "_raw_params"},
    )
