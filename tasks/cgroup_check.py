"""Check a node's control groups: version, controllers, and whether they are delegated.

Returns what it found, whatever was asked: `version` (v1, v2, hybrid), `controllers`, `delegated` (those a
container runtime may hand on to its containers) and `mounts`. It changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    require: Literal["any", "v1", "v2", "hybrid"] = arg(
        "any", doc="The version the node must have. 'hybrid' is v1 controllers beside an empty v2 tree."
    )
    controllers: list[str] = arg(
        [], doc="Controllers containers must be able to use: cpu, memory, pids, io, …"
    )
    delegated: bool = arg(True, doc="They must also be delegated, so that containers get them.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    found = ctx.node.call("capacity", "cgroups")
    version = found["version"]
    problems = []
    if version == "none":
        problems.append("no cgroup hierarchy is mounted")
    elif args.require not in ("any", version):
        problems.append(f"cgroup {args.require} is required, and this node has {_words(version)}")
    wanted = [_canonical(name, version) for name in args.controllers]
    if missing := sorted(set(wanted) - set(found["controllers"])):
        problems.append(f"the kernel gives no {', '.join(missing)} controller here")
    elif args.delegated and (undelegated := sorted(set(wanted) - set(found["delegated"]))):
        problems.append(f"{', '.join(undelegated)} cannot be handed on to containers")
    if problems:
        hint = None
        if args.require == "v2" and version in ("v1", "hybrid"):
            hint = "boot the machine with systemd.unified_cgroup_hierarchy=1"
        raise TaskFailed(f"{ctx.host}: {'; '.join(problems)}", hint=hint, **found)
    return {
        **found,
        "changed": False,
        "msg": f"cgroup {version}, controllers {', '.join(found['controllers'])}",
    }


def _words(version: str) -> str:
    return "v1 controllers beside an empty v2 tree (hybrid)" if version == "hybrid" else version


def _canonical(name: str, version: str) -> str:
    if version == "v2":
        return {"blkio": "io", "cpuacct": "cpu"}.get(name, name)
    return {"io": "blkio"}.get(name, name)
