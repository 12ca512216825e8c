"""Keep a package in one of dpkg's selection states (hold, install, deinstall, purge). Returns before, after."""

from __future__ import annotations

from dataclasses import dataclass

from labctl.errors import TaskFailed
from labctl.node.api import Completed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="The package.")
    selection: str = arg(doc="Its state.", choices=("install", "hold", "deinstall", "purge"))


def run(args: Arguments, ctx: Context) -> Steps:
    said = ctx.node.run(["dpkg", "--get-selections", args.name])
    words = said.text().split()
    if said.rc or not words:
        raise TaskFailed(f"Failed to find package '{args.name}' to perform selection '{args.selection}'.")
    before = words[1]
    if before != args.selection:
        yield Change(
            f"selection of {args.name}",
            lambda: _set(ctx, args),
            before=f"{before}\n",
            after=f"{args.selection}\n",
        )
    return {"before": before, "after": args.selection}


def _set(ctx: Context, args: Arguments) -> Completed:
    done = ctx.node.run(["dpkg", "--set-selections"], stdin=f"{args.name} {args.selection}\n".encode())
    if done.rc:
        raise TaskFailed(f"dpkg: {done.error_text().strip()}", rc=done.rc)
    return done
