"""Run a command line in a shell.

In a dry run it is not run and its effect is unknown, unless `creates` or `removes` decides.
Returns cmd, rc, stdout, stdout_lines, stderr, stderr_lines, start, end, delta.
"""

from dataclasses import dataclass

from labctl import commands
from labctl.node.api import Completed
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
    stdin = args.stdin or ""
    if args.stdin is not None and args.stdin_add_newline:
        stdin += "\n"
    creates, removes = (commands.below(args.chdir, path) for path in (args.creates, args.removes))

    def start() -> Completed:
        return ctx.node.run(
            [args.executable, "-c", args.cmd],
            stdin=stdin.encode(),
            cwd=args.chdir,
            output=ctx.output,
            creates=creates,
            removes=removes,
        )

    return (
        yield from commands.run(
            ctx,
            args.cmd,
            start,
            creates=creates,
            removes=removes,
            strip=args.strip_empty_ends,
            chdir=args.chdir,
            written=(args.creates, args.removes),
        )
    )
