"""Run a command that asks questions, and answer them.

It runs on a terminal of its own, without a shell. In a dry run it is not run and its effect is unknown, unless `creates`
or `removes` decides. Returns cmd, rc, stdout (all it wrote), start, end, delta.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from labctl import commands
from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    command: str = arg(doc="The command line, split into words as a shell would.")
    responses: dict[str, Any] = arg(
        doc="Question, a regular expression, to answer; a list answers one time after the other.", secret=True
    )
    chdir: str | None = arg(None, doc="Run it in this directory.")
    creates: str | None = arg(None, doc="A path; when it exists the command is not run.")
    removes: str | None = arg(None, doc="A path; when it does not exist the command is not run.")
    timeout: int | None = arg(30, doc="Seconds to wait for the next question or the end; null: for ever.")
    echo: bool = arg(False, doc="Show the answers in the output.")


def run(args: Arguments, ctx: Context) -> Steps:
    words = shlex.split(args.command)
    if not words:
        raise TaskFailed("no command given", rc=256)
    for path, there in ((args.creates, True), (args.removes, False)):
        if (
            path
            and (ctx.node.stat(commands.below(args.chdir, path) or path, follow=True) is not None) is there
        ):
            said = f"skipped, since {path} {'exists' if there else 'does not exist'}"
            return {"cmd": args.command, "stdout": said, "stdout_lines": [said], "rc": 0, "changed": False}
    told: dict[str, Any] | None = yield Change(
        f"run {words[0]}",
        lambda: ctx.node.call(
            "expecting",
            "converse",
            words=words,
            responses=args.responses,
            timeout=args.timeout,
            echo=args.echo,
            chdir=args.chdir,
            environment=dict(ctx.environment),
        ),
        unknown=f"'{os.path.basename(words[0])}' is not run in a dry run",
    )
    if told is None:
        return {"cmd": args.command}
    output = told["output"].rstrip("\r\n")
    values: dict[str, Any] = {
        "cmd": args.command,
        "stdout": output,
        "stdout_lines": output.splitlines(),
        "rc": told["rc"],
        "start": _time(told["start"]),
        "end": _time(told["end"]),
        "delta": str(timedelta(seconds=max(0.0, told["end"] - told["start"]))),
        "changed": True,
    }
    if told["unanswered"] is not None:
        raise TaskFailed(
            f"No remaining responses for '{told['unanswered']}', output was '{output}'", **values
        )
    if told["rc"] is None:
        raise TaskFailed("command exceeded timeout", **values)
    if told["rc"]:
        raise TaskFailed("non-zero return code", **values)
    return values


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
