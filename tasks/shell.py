"""Run a command line in a shell.

In a dry run it is not run and its effect is unknown, unless `creates` or `removes` decides.
Returns cmd, rc, stdout, stdout_lines, stderr, stderr_lines, start, end, delta.
"""

from dataclasses import dataclass

from labctl import commands
from labctl.task_types import Args, Context, Steps, arg

DETACHES = True


@dataclass(kw_only=True)
class Arguments(Args):
    cmd: str = arg(doc="The command line.", free_form=True)
    chdir: str | None = arg(None, doc="Run it in this directory.")
    creates: str | None = arg(None, doc="A path or glob; when it exists the command is not run.")
    removes: str | None = arg(None, doc="A path or glob; when it does not exist the command is not run.")
    executable: str = arg("/bin/sh", doc="The shell; it is called with -c.")
    stdin: str | None = arg(None, doc="Text for its standard input.")
    stdin_add_newline: bool = arg(True, doc="Put a newline after `stdin`.")
    strip_empty_ends: bool = arg(True, doc="Take newlines off the ends of stdout and stderr.")


def run(args: Arguments, ctx: Context) -> Steps:
    return (yield from commands.run_wanted(ctx, args, args.cmd, lambda: [args.executable, "-c", args.cmd]))
