"""Keep a group of the host. Returns name, state, gid, system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl import commands
from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="The group's name.")
    state: Literal["present", "absent"] = arg("present", doc="Whether it is to be there.")
    gid: int | None = arg(None, doc="Its number.")
    system: bool = arg(False, doc="Make it a system group: a number of their range.")
    force: bool = arg(False, doc="Delete it even if it is a user's primary group.")
    local: bool = arg(False, doc="Use libuser's programs, where accounts are kept centrally (lgroupadd …).")
    non_unique: bool = arg(False, doc="Let another group have the same number.")
    gid_min: int | None = arg(None, doc="The lowest number to choose; over login.defs' GID_MIN.")
    gid_max: int | None = arg(None, doc="The highest number to choose; over login.defs' GID_MAX.")


def run(args: Arguments, ctx: Context) -> Steps:
    _check(args)
    found = ctx.node.call("accounts", "group", name=args.name, local=args.local)
    values: dict[str, Any] = {"name": args.name, "state": args.state}
    program = "lgroup" if args.local else "group"
    before = "" if found is None else f"{args.name} {found['gid']}\n"
    argv: list[str] | None = None
    if args.state == "absent":
        argv = [f"{program}del", *(["-f"] if args.force else []), args.name] if found else None
    elif found is None:
        argv = [f"{program}add", *_number(args), *(["-r"] if args.system else []), *_range(args), args.name]
    elif args.gid is not None and args.gid != found["gid"]:
        argv = [f"{program}mod", *_number(args), args.name]
    if argv:
        after = (
            ""
            if args.state == "absent"
            else f"{args.name} {'' if args.gid is None else args.gid}".rstrip() + "\n"
        )
        done = yield Change(
            f"group {args.name}", lambda: commands.must(ctx, argv, name=args.name), before=before, after=after
        )
        values |= commands.spoken(done)
        if args.state == "present" and not ctx.check:
            found = ctx.node.call("accounts", "group", name=args.name, local=args.local)
    if args.state == "present" and (args.gid is not None or found):
        gid = found["gid"] if found and not ctx.check else args.gid if args.gid is not None else found["gid"]
        values |= {"gid": gid, "system": args.system}
    return values


def _check(args: Arguments) -> None:
    if args.non_unique and args.gid is None:
        raise TaskFailed("non_unique is True but all of the following are missing: gid")
    if args.force and args.local:
        raise TaskFailed("'force' and 'local' exclude one another")
    if args.local and (args.gid_min is not None or args.gid_max is not None):
        raise TaskFailed("'gid_min' and 'gid_max' cannot be used with 'local'")


def _number(args: Arguments) -> list[str]:
    return [] if args.gid is None else ["-g", str(args.gid), *(["-o"] if args.non_unique else [])]


def _range(args: Arguments) -> list[str]:
    limits = (("GID_MIN", args.gid_min), ("GID_MAX", args.gid_max))
    return [word for name, value in limits if value is not None for word in ("-K", f"{name}={value}")]
