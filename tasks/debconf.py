"""Answer a package's questions before it is configured (debconf). Returns curr, previous, msg; passwords are not shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg

_TYPES = ("boolean", "error", "multiselect", "note", "password", "seen", "select", "string", "text", "title")


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="The package.", aliases=("pkg",))
    question: str | None = arg(None, doc="The question.", aliases=("selection", "setting"))
    vtype: str | None = arg(None, doc="Its type.", choices=_TYPES)
    value: Any = arg(None, doc="The answer.", aliases=("answer",))
    unseen: bool = arg(False, doc="Do not mark it as answered.")


def run(args: Arguments, ctx: Context) -> Steps:
    previous = _known(args, ctx)
    if args.question is None:
        return {"msg": "", "current": previous, "changed": False}
    if args.vtype is None or args.value is None:
        raise TaskFailed("when supplying a question you must supply a valid vtype and a value")
    value = args.value
    if args.vtype == "boolean":
        value = str(value).lower()
    elif args.vtype == "multiselect" and isinstance(value, list):
        value = ", ".join(sorted(map(str, value)))
    value = str(value)
    secret = args.vtype == "password"
    now = _password(args, ctx) if secret else previous.get(args.question)
    if args.question in previous and now == value:
        return {"msg": "", "current": previous, "changed": False}
    yield Change(
        f"answer to {args.question}",
        lambda: _set(args, ctx, value),
        before=None if secret else f"{now}\n",
        after=None if secret else f"{value}\n",
    )
    hidden = "<hidden>" if secret else value
    return {
        "msg": "",
        "current": {args.question: hidden},
        "previous": {args.question: previous[args.question]}
        if args.question in previous
        else {**previous, args.question: ""},
    }


def _known(args: Arguments, ctx: Context) -> dict[str, str]:
    done = ctx.node.run(["debconf-show", args.name])
    if done.rc:
        raise TaskFailed(f"debconf-show: {done.error_text().strip()}", rc=done.rc)
    found = {}
    for line in done.text().splitlines():
        key, colon, value = line.strip("* ").partition(":")
        if colon:
            found[key.strip()] = value.strip()
    return found


def _password(args: Arguments, ctx: Context) -> str:
    done = ctx.node.run(["debconf-communicate", args.name], stdin=f"GET {args.question}\n".encode())
    return done.text().partition(" ")[2].rstrip("\n")


def _set(args: Arguments, ctx: Context, value: str) -> None:
    words = ["debconf-set-selections", *(["-u"] if args.unseen else [])]
    line = f"{args.name} {args.question} {args.vtype} {value}\n"
    done = ctx.node.run(words, stdin=line.encode())
    if done.rc:
        raise TaskFailed(f"debconf-set-selections: {done.error_text().strip()}", rc=done.rc)
