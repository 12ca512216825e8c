"""Start, stop, enable or mask a unit of systemd, or have it read its units again.

Needs a host that systemd runs; `service` works on others too. Returns name, state, enabled, and status: the unit's
properties as `systemctl show` tells them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl import commands
from labctl.errors import TaskFailed, did_you_mean
from labctl.task_types import Args, Change, Context, Steps, arg

_RUNNING = ("active", "activating")
_VERBS = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}


@dataclass(kw_only=True)
class Arguments(Args):
    name: str | None = arg(None, doc="The unit; without a suffix a service.", aliases=("service", "unit"))
    state: Literal["started", "stopped", "restarted", "reloaded"] | None = arg(
        None, doc="'restarted' and 'reloaded' act every time; one that is down is started."
    )
    enabled: bool | None = arg(None, doc="Whether it starts with the host.")
    masked: bool | None = arg(None, doc="Whether nothing can start it.")
    daemon_reload: bool = arg(
        False, doc="Let systemd read its units again first.", aliases=("daemon-reload",)
    )
    daemon_reexec: bool = arg(False, doc="Let systemd start itself anew first.", aliases=("daemon-reexec",))
    scope: Literal["system", "user", "global"] = arg(
        "system", doc="Whose manager: the system's or the user's."
    )
    no_block: bool = arg(False, doc="Do not wait until it is done.")
    force: bool | None = arg(None, doc="Overwrite links that are in the way.")


def run(args: Arguments, ctx: Context, known: dict[str, Any] | None = None) -> Steps:
    """`known`: what the node has said of the unit, where the caller has asked already."""
    for name in ("state", "enabled", "masked"):
        if getattr(args, name) is not None and not args.name:
            raise TaskFailed(f"missing parameter(s) required by '{name}': name")
    if args.name and any(sign in args.name for sign in "*?["):
        raise TaskFailed(f"'{args.name}' is a pattern: name one unit, and use a loop for several")
    found = known or ctx.node.call("services", "unit", name=args.name, scope=args.scope)
    _check(args, ctx, found)
    changed = False
    for wanted, verb in ((args.daemon_reload, "daemon-reload"), (args.daemon_reexec, "daemon-reexec")):
        if wanted:
            yield Change(f"systemd's {verb}", lambda verb=verb: _do(args, ctx, verb))
    if args.daemon_reload and args.name and not ctx.check:
        found = ctx.node.call("services", "unit", name=args.name, scope=args.scope)
    values: dict[str, Any] = {"name": args.name, "status": found["status"]}
    if args.masked is not None and args.masked != (found["file"] == "masked"):
        changed = True
        verb = "mask" if args.masked else "unmask"
        yield Change(f"{verb} {args.name}", lambda: _do(args, ctx, verb, args.name))
    if args.enabled is not None:
        _must_exist(args, ctx, found)
        if args.enabled != found["enabled"]:
            changed = True
            word = "enable" if args.enabled else "disable"
            yield Change(f"{word} {args.name}", lambda: _do(args, ctx, word, args.name))
        values["enabled"] = args.enabled
    if args.state is not None:
        _must_exist(args, ctx, found)
        act = _verb(args.state, found["status"].get("ActiveState", ""))
        values["state"] = "started" if args.state in ("restarted", "reloaded") else args.state
        if act:
            changed = True
            before = f"{found['status'].get('ActiveState', 'unknown')}\n"
            after = "inactive\n" if act == "stop" else "active\n"
            yield Change(
                f"{act} {args.name}", lambda: _do(args, ctx, act, args.name), before=before, after=after
            )
    return {**values, "changed": changed}


def _check(args: Arguments, ctx: Context, found: dict[str, Any]) -> None:
    """Refuse what needs a running systemd where there is none."""
    if not found["systemctl"]:
        raise TaskFailed(
            f"{ctx.host} has no systemd: there is no program 'systemctl'",
            hint=f"its first process is {found['init']}; 'service' works with its /etc/init.d scripts",
        )
    acts = args.state or args.daemon_reload or args.daemon_reexec
    if acts and not found["booted"] and args.scope == "system":
        raise TaskFailed(
            f"{ctx.host} is not run by systemd: its first process is {found['init']}",
            hint="'service' works with its /etc/init.d scripts",
        )


def _must_exist(args: Arguments, ctx: Context, found: dict[str, Any]) -> None:
    missing = found["status"].get("LoadState") == "not-found" if found["booted"] else not found["file"]
    if missing and not found["script"]:
        hint = did_you_mean(args.name or "", found["names"]) or "it comes with a package"
        raise TaskFailed(f"Could not find the requested service {args.name}: host", hint=hint)
    if found["status"].get("LoadError") and found["status"].get("LoadState") != "masked":
        raise TaskFailed(f"Error loading unit file '{args.name}': {found['status']['LoadError']}")


def _verb(state: str, active: str) -> str | None:
    if state == "started":
        return None if active in _RUNNING else "start"
    if state == "stopped":
        return "stop" if active in (*_RUNNING, "deactivating", "reloading") else None
    return _VERBS[state] if active in _RUNNING else "start"


def _do(args: Arguments, ctx: Context, verb: str, name: str | None = None) -> None:
    argv = ["systemctl", *([] if args.scope == "system" else [f"--{args.scope}"])]
    argv += ["--no-block"] if args.no_block else []
    argv += ["--force"] if args.force else []
    commands.must(ctx, [*argv, verb, *(["--", name] if name else [])])
