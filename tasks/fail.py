"""Fail, with a message. In a dry run as well."""

from dataclasses import dataclass
from typing import Any

from labctl.task_types import Args, Context, arg

ON_CONTROLLER = True


@dataclass(kw_only=True)
class Arguments(Args):
    msg: Any = arg("Failed as requested from task", doc="What to say: a text, or any value.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    return {"failed": True, "changed": False, "msg": args.msg}
