"""Run a command, without a shell.

`$NAME` and a leading `~` are expanded as the node's environment has them; pipes, redirections and globs
need `shell`. In a dry run it is not run and its effect is unknown, unless `creates` or `removes` decides.
Returns cmd, rc, stdout, stdout_lines, stderr, stderr_lines, start, end, delta.
"""

from dataclasses import dataclass

from labctl import commands
from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, Steps, arg

DETACHES = True


@dataclass(kw_only=True)
class Arguments(Args):
    cmd: str | None = arg(None, doc="The command line, split into words as a shell would.", free_form=True)
    argv: list[str] | None = arg(None, doc="The command as a list of words.")
    chdir: str | None = arg(None, doc="Run it in this directory.")
    creates: str | None = arg(None, doc="A path or glob; when it exists the command is not run.")
    removes: str | None = arg(None, doc="A path or glob; when it does not exist the command is not run.")
    stdin: str | None = arg(None, doc="Text for its standard input.")
    stdin_add_newline: bool = arg(True, doc="Put a newline after `stdin`.")
    strip_empty_ends: bool = arg(True, doc="Take newlines off the ends of stdout and stderr.")
    executable: str | None = arg(None, doc="Of no use without a shell; `shell` takes one.")
    expand_argument_vars: bool = arg(True, doc="Expand $NAME and ~ in the words.")

    required_one_of = (("cmd", "argv"),)
    mutually_exclusive = (("cmd", "argv"),)


def run(args: Arguments, ctx: Context) -> Steps:
    argv = list(args.argv) if args.argv is not None else commands.words(args.cmd or "")
    if not argv:
        raise TaskFailed("the command is empty")

    def words() -> list[str]:
        if args.expand_argument_vars and any("$" in word or word.startswith("~") for word in argv):
            return list(ctx.node.call("files", "expand", arguments=argv, environment=dict(ctx.environment)))
        return argv

    values = yield from commands.run_wanted(ctx, args, argv, words)
    if args.executable is None:
        return values
    said = f"the parameter 'executable' is no longer supported with 'command': not using '{args.executable}'"
    ctx.warn(said)
    return {**values, "warnings": [said]}
