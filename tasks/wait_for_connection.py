"""Wait until the host can be spoken to, after a reboot for instance. Returns elapsed, in seconds."""

import time
from dataclasses import dataclass
from typing import Any

from labctl.errors import HostKeyMismatch, TaskFailed, Unreachable
from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    timeout: float = arg(600.0, doc="Give up after this many seconds.")
    delay: float = arg(0.0, doc="Seconds before the first attempt.")
    connect_timeout: float = arg(
        5.0, doc="Seconds for one attempt to connect: labctl's own connections have theirs."
    )
    sleep: float = arg(1.0, doc="Seconds between two attempts.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    began = time.monotonic()
    if not ctx.check:
        ctx.wait(args.delay)
    while True:
        try:
            ctx.node.stat("/")
        except HostKeyMismatch:
            raise
        except Unreachable as error:
            elapsed = time.monotonic() - began
            if ctx.check:
                raise
            if elapsed + args.sleep > args.timeout:
                said = f"{ctx.host} could not be spoken to within {args.timeout:g} s: {error.message}"
                raise TaskFailed(said, elapsed=round(elapsed, 3)) from None
            ctx.progress(f"waiting for {ctx.host}: {error.message}", min(1.0, elapsed / args.timeout))
            ctx.wait(args.sleep)
        else:
            return {"elapsed": round(time.monotonic() - began, 3), "changed": False}
