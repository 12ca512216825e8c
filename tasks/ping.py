"""See whether the host can be spoken to. Returns ping: 'pong'."""

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    data: str = arg("pong", doc="What to answer; 'crash' makes it fail.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    ctx.node.stat("/")
    if args.data == "crash":
        raise TaskFailed("crash, as asked")
    return {"ping": args.data}
