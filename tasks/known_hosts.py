"""Keep a host key in a known_hosts file. Returns name, key, path, hash_host and the file's owner, mode, size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    name: str = arg(doc="The host whose key it is.", aliases=("host",))
    key: str | None = arg(None, doc="The line for it: 'NAME TYPE KEY'. With 'absent': only this key.")
    path: str = arg("~/.ssh/known_hosts", doc="The file.")
    hash_host: bool = arg(False, doc="Write the host's name hashed.")
    state: Literal["present", "absent"] = arg("present", doc="Whether it is to be there.")


def run(args: Arguments, ctx: Context) -> Steps:
    if not args.key and args.state == "present":
        raise TaskFailed("No key specified when adding a host")
    found = ctx.node.call(
        "known_hosts",
        "plan",
        host=args.name.lower(),
        key=args.key or None,
        path=args.path,
        hashed=args.hash_host,
        present=args.state == "present",
    )
    if found["problem"]:
        raise TaskFailed(found["problem"])
    if found["before"] != found["after"]:
        data = found["after"].encode(errors="surrogateescape")
        yield Change(
            f"key of {args.name} in {args.path}",
            lambda: ctx.node.write(found["path"], data),
            before=found["before"],
            after=found["after"],
        )
    values: dict[str, Any] = {"name": args.name, "key": args.key, "path": found["path"], "state": args.state}
    about = found["about"]
    if found["before"] != found["after"] and not ctx.check:
        about = ctx.node.call("paths", "about", path=found["path"])
    return {**values, "hash_host": args.hash_host, **about}
