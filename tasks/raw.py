"""Run a command line over a plain SSH channel: for hosts without Python.

In a dry run it is not run and its effect is unknown. Returns rc, stdout, stdout_lines, stderr, stderr_lines.
"""

import shlex
from dataclasses import dataclass

from labctl import commands
from labctl.task_types import Args, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    cmd: str = arg(doc="The command line, for the user's login shell.", free_form=True)
    executable: str | None = arg(None, doc="Another shell; it is called with -c.")


def run(args: Arguments, ctx: Context) -> Steps:
    line = f"{shlex.quote(args.executable)} -c {shlex.quote(args.cmd)}" if args.executable else args.cmd
    values = yield from commands.run(
        ctx,
        args.cmd,
        lambda: ctx.shell(line, output=ctx.output),
        on_node=False,
        strip=False,
    )
    unknown_to_ansible = ("cmd", "start", "end", "delta", *(() if values.get("failed") else ("msg",)))
    return {name: value for name, value in values.items() if name not in unknown_to_ansible}
