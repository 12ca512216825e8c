"""Start, stop, restart, reload, enable or disable a service.

Works under systemd and with /etc/init.d scripts. A service that is as asked costs one round trip. After a
start the service is looked at again: one that ends at once is a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed, did_you_mean
from labctl.task_types import Args, Change, Context, Steps, arg

_VERBS = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}


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


def run(args: Arguments, ctx: Context) -> Steps:
    found = _state(ctx, args.name)
    if found["manager"] is None:
        raise TaskFailed(f"{ctx.host} has neither systemd nor /etc/init.d: its services cannot be managed")
    if args.daemon_reload and found["manager"] == "systemd":
        yield Change("systemd's units", lambda: _do(ctx, args, ["systemctl", "daemon-reload"]))
        found = _state(ctx, args.name)
    if not found["found"]:
        if ctx.check:
            yield Change(
                f"service {args.name}",
                lambda: None,
                unknown=f"there is no service {args.name} before this run",
            )
            return {"name": args.name}
        raise TaskFailed(
            f"{ctx.host} has no service '{args.name}'",
            hint=did_you_mean(args.name, found["names"]) or "it comes with a package",
        )
    verb = _verb(args.state, found["running"])
    if args.enabled is not None and found["enabled"] is not None and args.enabled != found["enabled"]:
        yield Change(
            f"service {args.name} is {'enabled' if args.enabled else 'disabled'}",
            lambda: _do(ctx, args, _enable(args, found["manager"])),
            before=_word(found["enabled"], "enabled", "disabled"),
            after=_word(args.enabled, "enabled", "disabled"),
        )
    if verb:
        yield Change(
            f"{verb} {args.name}",
            lambda: _act(ctx, args, found["manager"], verb),
            before=_word(found["running"], "running", "stopped"),
            after="stopped\n" if verb == "stop" else "running\n",
        )
    running = found["running"] if verb is None else verb != "stop"
    enabled = found["enabled"] if args.enabled is None or found["enabled"] is None else args.enabled
    return {"name": args.name, "running": running, "enabled": enabled, "manager": found["manager"]}


def _state(ctx: Context, name: str) -> dict[str, Any]:
    return dict(ctx.node.call("services", "state", name=name))


def _verb(state: str | None, running: bool | None) -> str | None:
    if state == "reloaded" and not running:
        return "start"
    if (state == "started" and running) or (state == "stopped" and running is False):
        return None
    return _VERBS[state] if state else None


def _act(ctx: Context, args: Arguments, manager: str, verb: str) -> None:
    argv = ["systemctl", verb, "--", args.name] if manager == "systemd" else ["service", args.name, verb]
    _do(ctx, args, argv)
    after = _state(ctx, args.name)
    if after["running"] is (verb == "stop"):
        word = "still runs" if verb == "stop" else "does not run"
        raise TaskFailed(f"service {args.name} on {ctx.host} {word} after {verb}: {after['status']}")


def _do(ctx: Context, args: Arguments, argv: list[str]) -> None:
    done = ctx.node.run(argv, timeout=ctx.timeout, output=ctx.output)
    if done.rc:
        said = (done.error_text() or done.text()).strip().splitlines()
        raise TaskFailed(
            f"'{' '.join(argv)}' failed on {ctx.host}: {said[-1] if said else f'exit status {done.rc}'}",
            rc=done.rc,
            stdout=done.text(),
            stderr=done.error_text(),
        )


def _enable(args: Arguments, manager: str) -> list[str]:
    if manager == "systemd":
        return ["systemctl", "enable" if args.enabled else "disable", "--", args.name]
    return ["update-rc.d", args.name, "enable" if args.enabled else "disable"]


def _word(value: bool | None, yes: str, no: str) -> str:
    return f"{'unknown' if value is None else yes if value else no}\n"
