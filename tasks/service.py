"""Start, stop, restart, reload, enable or disable a service.

Works under systemd (see `systemd` for what it alone can do) and with /etc/init.d scripts. A service that is as asked
costs one round trip. After a start by a script the service is looked at again: one that ends at once is a failure.
Returns name, state, enabled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labctl.errors import TaskFailed, did_you_mean
from labctl.task_types import Args, Change, Context, Steps, arg, load

_systemd = load(Path(__file__).with_name("systemd.py"))
_VERBS = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}
_NOT_SYSTEMDS = ("pattern", "sleep", "runlevel", "arguments")


@dataclass(kw_only=True)
class Arguments(Args):
    required_one_of = (("state", "enabled", "daemon_reload"),)
    name: str = arg(doc="The service: 'containerd', 'ssh'.", aliases=("service", "unit"))
    state: Literal["started", "stopped", "restarted", "reloaded"] | None = arg(
        None, doc="'restarted' and 'reloaded' act every time; a reloaded service that is down is started."
    )
    enabled: bool | None = arg(None, doc="Whether it starts with the node.")
    daemon_reload: bool = arg(
        False, doc="Let systemd read its units again first.", aliases=("daemon-reload",)
    )
    sleep: int | None = arg(None, doc="Seconds between the stop and the start of a restart by a script.")
    pattern: str | None = arg(None, doc="Words of the processes that show a script's service to run.")
    arguments: str = arg("", doc="Further words for the script.", aliases=("args",))
    runlevel: str = arg("default", doc="For OpenRC, which labctl has not; nothing elsewhere.")
    use: str = arg("auto", doc="'systemd' or 'sysvinit'; else whichever the host has.")


def run(args: Arguments, ctx: Context) -> Steps:
    if args.use in ("systemd", "systemd_service", "ansible.builtin.systemd"):
        return (yield from _by_systemd(args, ctx))
    found = _state(ctx, args)
    if found["manager"] is None:
        raise TaskFailed(f"{ctx.host} has neither systemd nor /etc/init.d: its services cannot be managed")
    if found["manager"] == "systemd" and args.use != "sysvinit":
        return (yield from _by_systemd(args, ctx, found["unit"]))
    if not found["found"]:
        if ctx.check:
            yield Change(
                f"service {args.name}",
                lambda: None,
                unknown=f"there is no service {args.name} before this run",
            )
            return {"name": args.name}
        raise TaskFailed(
            f"Could not find the requested service {args.name}: {ctx.host} has no such /etc/init.d script",
            hint=did_you_mean(args.name, found["names"]) or "it comes with a package",
        )
    verb = _verb(args.state, found["running"])
    if args.enabled is not None and args.enabled != found["enabled"]:
        yield Change(
            f"service {args.name} is {'enabled' if args.enabled else 'disabled'}",
            lambda: _do(ctx, ["update-rc.d", args.name, "enable" if args.enabled else "disable"]),
            before=_word(found["enabled"], "enabled", "disabled"),
            after=_word(args.enabled, "enabled", "disabled"),
        )
    if verb:
        yield Change(
            f"{verb} {args.name}",
            lambda: _act(ctx, args, verb),
            before=_word(found["running"], "running", "stopped"),
            after="stopped\n" if verb == "stop" else "running\n",
        )
    values: dict[str, Any] = {"name": args.name}
    if args.enabled is not None:
        values["enabled"] = args.enabled
    if args.state is not None:
        values["state"] = "stopped" if args.state == "stopped" else "started"
    return values


def _by_systemd(args: Arguments, ctx: Context, known: dict[str, Any] | None = None) -> Steps:
    unused = [name for name in _NOT_SYSTEMDS if getattr(args, name) not in (None, "", "default")]
    for name in unused:
        ctx.warn(f"'{name}' of 'service' is of no use under systemd")
    given = {
        "name": args.name,
        "state": args.state,
        "enabled": args.enabled,
        "daemon_reload": args.daemon_reload,
    }
    steps: Any = _systemd.run(_systemd.arguments(**given), ctx, known)
    found: dict[str, Any] = yield from steps
    return found


def _state(ctx: Context, args: Arguments) -> dict[str, Any]:
    more = {"pattern": args.pattern} if args.pattern else {}
    return dict(ctx.node.call("services", "state", name=args.name, **more))


def _verb(state: str | None, running: bool | None) -> str | None:
    if state == "reloaded" and not running:
        return "start"
    if (state == "started" and running) or (state == "stopped" and running is False):
        return None
    return _VERBS[state] if state else None


def _act(ctx: Context, args: Arguments, verb: str) -> None:
    further = args.arguments.split()
    if verb == "restart" and args.sleep:
        _do(ctx, ["service", args.name, "stop", *further])
        ctx.wait(args.sleep)
        _do(ctx, ["service", args.name, "start", *further])
    else:
        _do(ctx, ["service", args.name, verb, *further])
    after = _state(ctx, args)
    if after["running"] is (verb == "stop"):
        word = "still runs" if verb == "stop" else "does not run"
        raise TaskFailed(f"service {args.name} on {ctx.host} {word} after {verb}: {after['status']}")


def _do(ctx: Context, argv: list[str]) -> None:
    done = ctx.node.run(argv, timeout=ctx.timeout, output=ctx.output)
    if done.rc:
        said = (done.error_text() or done.text()).strip().splitlines()
        raise TaskFailed(
            f"'{' '.join(argv)}' failed on {ctx.host}: {said[-1] if said else f'exit status {done.rc}'}",
            rc=done.rc,
            stdout=done.text(),
            stderr=done.error_text(),
        )


def _word(value: bool | None, yes: str, no: str) -> str:
    return f"{'unknown' if value is None else yes if value else no}\n"
