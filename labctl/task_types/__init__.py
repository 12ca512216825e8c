"""What a task type is, and how one is found and checked.

A task type is one file in a `tasks/` folder: a docstring, an `Arguments` dataclass whose fields are
its schema, and `run(args, ctx)`. `run` looks at the actual state and yields a `Change` for each
difference from the expected one; it returns the task's values as a dict. In a dry run the changes are
shown and not applied: `yield` then gives None. Reading is always allowed, changing only in `apply`.
"""

from labctl.task_types.chosen import arguments_of, chosen
from labctl.task_types.coercion import describe, to_bool
from labctl.task_types.context import Change, Context, Job, Skip, Steps
from labctl.task_types.foreign import foreign, is_foreign
from labctl.task_types.registry import VARIABLE, Registry, TaskType, load, short_name
from labctl.task_types.schema import Args, Parameter, arg

__all__ = [
    "VARIABLE",
    "Args",
    "Change",
    "Context",
    "Job",
    "Parameter",
    "Registry",
    "Skip",
    "Steps",
    "TaskType",
    "arg",
    "arguments_of",
    "chosen",
    "describe",
    "foreign",
    "is_foreign",
    "load",
    "short_name",
    "to_bool",
]
