"""Make an empty file or directory of a new name on the host, private to its owner. Returns path, state, mode, owner …"""

from dataclasses import dataclass

from labctl.errors import TaskFailed
from labctl.files import properties
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    state: str = arg("file", doc="What to make.", choices=("file", "directory"))
    path: str | None = arg(None, doc="Where; else the host's directory for temporary files.")
    prefix: str = arg("ansible.", doc="What its name begins with.")
    suffix: str = arg("", doc="What its name ends with.")


def run(args: Arguments, ctx: Context) -> Steps:
    for name in ("prefix", "suffix"):
        if "/" in getattr(args, name):
            raise TaskFailed(f"'{name}' must be part of a file's name, not {getattr(args, name)!r}")
    path = yield Change(
        f"temporary {args.state}",
        lambda: ctx.node.call(
            "files",
            "temporary",
            directory=args.state == "directory",
            folder=args.path,
            prefix=args.prefix,
            suffix=args.suffix,
        ),
        unknown="its name is not known in a dry run",
    )
    return {"path": path, **properties(ctx.node.stat(path))} if path else {"state": args.state}
