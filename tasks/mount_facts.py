"""What is mounted and what fstab says, as facts: `mount_points` by path, and all entries as `aggregate_mounts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.node.functions.mount_sources import DYNAMIC, STATIC
from labctl.task_types import Args, Context, arg

_NAMED = {"dynamic": DYNAMIC, "static": STATIC, "all": (*DYNAMIC, *STATIC)}


@dataclass(kw_only=True)
class Arguments(Args):
    sources: list[str] = arg(
        ["all"], doc="Where to look, in this order: files, 'mount', 'dynamic', 'static' (fstab), 'all'."
    )
    mount_binary: str | None = arg(
        "mount", doc="The program for 'mount', and for a host that has no file of its mounts."
    )
    devices: list[str] = arg([], doc="Only these devices or servers; globs.")
    fstypes: list[str] = arg([], doc="Only these types of file system; globs.")
    timeout: float | None = arg(None, doc="At most so many seconds for each mount.")
    on_timeout: Literal["error", "warn", "ignore"] = arg("error", doc="What a mount too late leads to.")
    include_aggregate_mounts: bool | None = arg(
        None, doc="Return every entry, also several of one path (null: warn of those)."
    )


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    if args.timeout is not None and args.timeout <= 0:
        raise TaskFailed(f"argument 'timeout' must be a positive number or null, not {args.timeout}")
    if not all(args.sources):
        raise TaskFailed("sources contains an empty string")
    sources = [path for name in args.sources or ["all"] for path in _NAMED.get(name, (name,))]
    if len(set(sources)) < len(sources):
        ctx.warn("'sources' names some more than once: the repetitions count for nothing")
    found = ctx.node.call(
        "mount_sources",
        "collect",
        sources=sources,
        program=args.mount_binary,
        devices=args.devices,
        fstypes=args.fstypes,
        timeout=args.timeout,
    )
    for path in found["late"]:
        said = f"Timed out getting mount size for mount {path}"
        if args.on_timeout == "error":
            raise TaskFailed(said)
        if args.on_timeout == "warn":
            ctx.warn(said)
    points: dict[str, Any] = {}
    repeated = set()
    places = set()
    for mount in found["mounts"]:
        points.setdefault(mount["mount"], mount)
        place = (mount["ansible_context"]["source"], mount["mount"])
        if place in places:
            repeated.add(mount["mount"])
        places.add(place)
    if repeated and args.include_aggregate_mounts is None:
        ctx.warn(f"of several mounts at one path only the first is returned: {', '.join(sorted(repeated))}")
    aggregate = found["mounts"] if args.include_aggregate_mounts else []
    return {"ansible_facts": {"mount_points": points, "aggregate_mounts": aggregate}, "changed": False}
