"""Set the host's name.

Under systemd it holds at once, elsewhere in the file it is read from at the next start (Alpine: both). /etc/hosts is
left as it is.

Returns name, and ansible_facts: ansible_hostname, ansible_nodename, ansible_fqdn, ansible_domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl import commands
from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="The name.")
    use: (
        Literal[
            "alpine",
            "debian",
            "freebsd",
            "generic",
            "macos",
            "macosx",
            "darwin",
            "openbsd",
            "openrc",
            "redhat",
            "sles",
            "solaris",
            "systemd",
        ]
        | None
    ) = arg(None, doc="How: 'systemd' by hostnamectl, others by their file; else as the host has it.")


def run(args: Arguments, ctx: Context) -> Steps:
    if args.use in ("freebsd", "macos", "macosx", "darwin", "openbsd", "solaris"):
        raise TaskFailed(f"'use: {args.use}' is for another system: labctl's hosts run Linux")
    if not args.name or len(args.name) > 64:
        raise TaskFailed("a host's name has 1 to 64 characters")
    found = ctx.node.call("hostname", "state", use=args.use)
    old = next((name for name in (found["current"], found["permanent"]) if name != args.name), None)
    if old is not None:
        yield Change(
            "host name",
            lambda: _set(args, ctx, found),
            before=f"hostname = {old}\n",
            after=f"hostname = {args.name}\n",
        )
    fqdn = found["fqdn"] if ctx.check or old is None else ctx.node.call("hostname", "fqdn")
    facts: dict[str, Any] = {
        "ansible_hostname": args.name.split(".")[0],
        "ansible_nodename": args.name,
        "ansible_fqdn": fqdn,
        "ansible_domain": fqdn.partition(".")[2],
    }
    return {"name": args.name, "ansible_facts": facts}


def _set(args: Arguments, ctx: Context, found: dict[str, Any]) -> None:
    if found["how"] == "systemd":
        if found["current"] != args.name:
            commands.must(ctx, ["hostnamectl", "--transient", "set-hostname", args.name])
        if found["permanent"] != args.name:
            commands.must(ctx, ["hostnamectl", "--pretty", "set-hostname", args.name])
            commands.must(ctx, ["hostnamectl", "--static", "set-hostname", args.name])
        return
    if found["how"] == "alpine" and found["current"] != args.name:
        commands.must(ctx, ["hostname", args.name])
    if found["permanent"] != args.name and found["file"]:
        ctx.node.call("hostname", "keep", path=found["file"], name=args.name)
