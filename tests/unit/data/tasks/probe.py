# ruff: noqa: RUF009 - arg([]) is copied, see task_types
"""Do what a test asks for: change, fail, be unreachable, be unknown."""

from dataclasses import dataclass
from typing import Any

from labctl.errors import NodeError, TaskFailed, Unreachable
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    text: Any = arg("", doc="comes back as 'text'", free_form=True)
    changed: bool = arg(False, doc="whether something changes")
    fail: bool = arg(False, doc="fail")
    fail_on: list[str] = arg([], doc="fail on these hosts")
    fail_times: int = arg(0, doc="fail so often, then succeed")
    unreachable_on: list[str] = arg([], doc="be unreachable on these hosts")
    full_disk: bool = arg(False, doc="raise ENOSPC")
    unknown: str | None = arg(None, doc="why a dry run cannot know")
    password: str | None = arg(None, doc="a secret", secret=True)
    touch: bool = arg(False, doc="use the node")


def run(args: Arguments, ctx: Context) -> Steps:
    calls = ctx.shared.setdefault("probe", [])
    calls.append((ctx.host, str(args.text)))
    count = sum(call == (ctx.host, str(args.text)) for call in calls)
    if args.touch:
        ctx.node.run(["true"])
    if ctx.host in args.unreachable_on:
        raise Unreachable(f"{ctx.host}: no route")
    if args.changed or args.unknown:
        yield Change("the thing", lambda: None, before="old\n", after="new\n", unknown=args.unknown)
    if args.full_disk:
        raise NodeError("/data: cannot write", errno_name="ENOSPC", path="/data")
    if args.fail or ctx.host in args.fail_on or count <= args.fail_times:
        raise TaskFailed(f"told to fail with {args.password}" if args.password else "told to fail", rc=7)
    if args.password:
        ctx.output("stdout", f"using {args.password}\n")
    return {
        "text": args.text,
        "user": ctx.access.become.user if ctx.access.become else None,
        "environment": dict(ctx.environment),
        "acted_on": ctx.host,
        "check": ctx.check,
        "stdout": f"{args.text} {args.password or ''}".strip(),
        "count": count,
    }
