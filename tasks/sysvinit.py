"""Start, stop, enable or disable a service by its /etc/init.d script, whatever else manages the host.

Returns name, changed, and status: what `enabled` and the state asked for changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl import commands
from labctl.errors import TaskFailed, did_you_mean
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    required_one_of = (("state", "enabled"),)
    name: str = arg(doc="The script's name.", aliases=("service",))
    state: Literal["started", "stopped", "restarted", "reloaded"] | None = arg(
        None, doc="'restarted' and 'reloaded' act every time."
    )
    enabled: bool | None = arg(None, doc="Whether it starts with the host.")
    sleep: int = arg(1, doc="Seconds between the stop and the start of a restart.")
    pattern: str | None = arg(None, doc="Words of the processes that show it to run.")
    runlevels: list[str] | None = arg(None, doc="The runlevels `enabled` is about.")
    arguments: str | None = arg(None, doc="Further words for the script.", aliases=("args",))
    daemonize: bool = arg(
        False, doc="For scripts that do not detach what they start; labctl detaches always."
    )


def run(args: Arguments, ctx: Context) -> Steps:
    found = ctx.node.call(
        "services", "script", name=args.name, pattern=args.pattern, levels=args.runlevels or []
    )
    if not found["found"]:
        hint = did_you_mean(args.name, found["names"]) or "it comes with a package"
        raise TaskFailed(f"Could not find the requested service {args.name}: host", hint=hint)
    status: dict[str, Any] = {"enabled": {"changed": False, "rc": None, "stdout": None, "stderr": None}}
    if args.runlevels:
        status["enabled"]["runlevels"] = args.runlevels
    if args.enabled is not None and any(value != args.enabled for value in found["enabled"].values()):
        verb = "disable" if not args.enabled else "enable" if args.runlevels else "defaults"
        argv = ["update-rc.d", args.name, verb, *(args.runlevels or [])]
        done = yield Change(f"{verb} {args.name}", lambda: commands.must(ctx, argv))
        status["enabled"] |= {"changed": True, **_told(done)}
    if args.state:
        verbs = _verbs(args.state, found["running"])
        status[args.state] = {"changed": bool(verbs), "rc": None, "stdout": None, "stderr": None}
        if verbs:
            done = yield Change(f"{' and '.join(verbs)} {args.name}", lambda: _act(args, ctx, verbs))
            status[args.state] |= _told(done)
    return {"name": args.name, "status": status}


def _verbs(state: str, running: bool | None) -> list[str]:
    if state == "restarted":
        return ["stop", "start"]
    if state == "reloaded":
        return ["reload"] if running else ["start"]
    if state == "started":
        return [] if running else ["start"]
    return ["stop"] if running else []


def _act(args: Arguments, ctx: Context, verbs: list[str]) -> Any:
    done = None
    for number, verb in enumerate(verbs):
        if number:
            ctx.wait(args.sleep)
        done = commands.must(ctx, [f"/etc/init.d/{args.name}", verb, *(args.arguments or "").split()])
    return done


def _told(done: Any) -> dict[str, Any]:
    return {"rc": done.rc, "stdout": done.text(), "stderr": done.error_text()} if done else {}
