"""Fail, with a message. In a dry run as well."""

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg

ON_CONTROLLER = True


@dataclass(kw_only=True)
class Arguments(Args):
    msg: str = arg("Failed as requested from task", doc="What to say.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    raise TaskFailed(args.msg)
