"""Look into a database of the name service: passwd, group, hosts, services …

Returns `ansible_facts.getent_DATABASE`: by each entry's first field, the list of its other fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.errors import NodeError, TaskFailed
from labctl.task_types import Args, Context, arg

_WHY = {
    1: "Missing arguments, or database unknown.",
    2: "One or more supplied key could not be found in the database.",
    3: "Enumeration not supported on this database.",
}
_COLONS = ("passwd", "shadow", "group", "gshadow")


@dataclass(kw_only=True)
class Arguments(Args):
    database: str = arg(doc="Its name.")
    key: str | None = arg(None, doc="Only this entry.")
    service: str | None = arg(None, doc="Only this service of the name service switch: 'files', 'dns' …")
    split: str | None = arg(
        None, doc="What separates the fields, else white space, or ':' in passwd and its like."
    )
    fail_key: bool = arg(True, doc="Fail when `key` is not there; else its value is null.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    argv = ["getent", args.database, *([args.key] if args.key is not None else [])]
    argv += ["-s", args.service] if args.service is not None else []
    try:
        done = ctx.node.run(argv, timeout=ctx.timeout)
    except NodeError as error:
        if error.errno_name != "ENOENT":
            raise
        raise TaskFailed(f"{ctx.host} has no program 'getent'") from None
    tree = f"getent_{args.database}"
    if done.rc == 2 and not args.fail_key:
        return {"ansible_facts": {tree: {args.key: None}}, "msg": _WHY[2], "changed": False}
    if done.rc:
        raise TaskFailed(
            _WHY.get(done.rc, f"getent ended with status {done.rc}: {done.error_text().strip()}")
        )
    split = args.split if args.split is not None else ":" if args.database in _COLONS else None
    entries: dict[str, Any] = {}
    times: dict[str, int] = {}
    for line in done.text().splitlines():
        name, *fields = line.split(split)
        times[name] = times.get(name, 0) + 1
        if times[name] == 1:
            entries[name] = fields
        else:
            entries[name] = [entries[name], fields] if times[name] == 2 else [*entries[name], fields]
    return {"ansible_facts": {tree: entries}, "changed": False}
