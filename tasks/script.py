"""Run a script of the controller on the host, over a plain SSH channel: it needs no Python there.

The script travels on standard input, is run from a temporary file that is removed again, and gets the words
after its name as arguments. In a dry run it is not run and its effect is unknown.
Returns cmd, rc, stdout, stdout_lines, stderr, stderr_lines, start, end, delta.
"""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path

from labctl import commands, vault
from labctl.errors import TaskFailed
from labctl.node.api import Completed
from labctl.task_types import Args, Context, Steps, arg

_SKIPPED = 118  # what the remote line below exits with when there is nothing to do


@dataclass(kw_only=True)
class Arguments(Args):
    cmd: str = arg(doc="The script's name in `files/`, and its arguments.", free_form=True)
    chdir: str | None = arg(None, doc="Run it in this directory.")
    creates: str | None = arg(None, doc="A path or glob; when it exists the script is not run.")
    removes: str | None = arg(None, doc="A path or glob; when it does not exist the script is not run.")
    decrypt: bool = arg(True, doc="Decrypt a script that is encrypted with Ansible Vault.")
    executable: str | None = arg(None, doc="The program that runs it; else its '#!' line decides.")


def run(args: Arguments, ctx: Context) -> Steps:
    words = commands.words(args.cmd)
    if not words:
        raise TaskFailed("the script has no name")
    source = ctx.find("files", words[0])
    return (
        yield from commands.run(
            ctx, args.cmd, lambda: _start(args, ctx, _program(args, source), words), on_node=False
        )
    )


def _program(args: Arguments, source: Path) -> bytes:
    try:
        return vault.read(source) if args.decrypt else source.read_bytes()
    except OSError as error:
        raise TaskFailed(f"{source}: {error.strerror}") from None


def _start(args: Arguments, ctx: Context, source: bytes, words: list[str]) -> Completed:
    program = f"{args.executable} " if args.executable else ""
    folder = f"cd {shlex.quote(args.chdir)} || exit 1; " if args.chdir else ""
    given = " ".join(map(shlex.quote, words[1:]))
    line = (
        'f=$(mktemp "${TMPDIR:-/tmp}/labctl-script.XXXXXX") || exit 1; '
        "trap 'rm -f \"$f\"' EXIT; trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM; "
        'cat >"$f" && chmod 700 "$f" || exit 1; '
        f"{folder}{_condition(args)}"
        f'{program}"$f" {given} </dev/null'
    )
    done = ctx.shell(f"/bin/sh -c {shlex.quote(line)}", stdin=source, output=ctx.output)
    if done.rc == _SKIPPED and (args.creates or args.removes) and not done.stdout:
        reason = f"{args.creates} exists" if args.creates else f"{args.removes} does not exist"
        return dataclasses.replace(done, skipped=reason)
    return done


def _condition(args: Arguments) -> str:
    found = 'there() { for p in "$@"; do [ -e "$p" ] || [ -L "$p" ] && return 0; done; return 1; }; '
    line = ""
    if args.creates:
        line += f"there {_glob(args.creates)} && exit {_SKIPPED}; "
    if args.removes:
        line += f"there {_glob(args.removes)} || exit {_SKIPPED}; "
    return found + line if line else ""


def _glob(pattern: str) -> str:
    return "".join(c if c in "*?[]" else shlex.quote(c) for c in pattern)
