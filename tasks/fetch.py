"""Copy a file from the host to this machine.

It goes to `dest/<host>/<path>`, so that files of several hosts do not meet, or to `dest` itself with `flat`.
Content is compared by checksum (sha256). Returns dest, file, checksum, size.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import TaskFailed
from labctl.files import shown
from labctl.files.content import SHOWN, Content
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    src: str = arg(doc="The file on the host.")
    dest: str = arg(
        doc="A directory of this machine (relative to the playbook); with `flat` the file itself."
    )
    flat: bool = arg(False, doc="`dest` is the file, or, with a slash at the end, the directory it goes to.")
    fail_on_missing: bool = arg(True, doc="A file that is not there is a failure.")


def run(args: Arguments, ctx: Context) -> Steps:
    stat = ctx.node.stat(args.src, follow=True, checksum=True)
    if stat is None:
        if args.fail_on_missing:
            raise TaskFailed(f"there is no {args.src} on {ctx.host}", file=args.src)
        return {"msg": f"there is no {args.src} on {ctx.host}, ignored", "file": args.src, "changed": False}
    if stat.type != "file":
        raise TaskFailed(f"{args.src} on {ctx.host} is a {stat.type}; fetch takes files", file=args.src)
    target = _target(args, ctx)
    if target.is_dir():
        raise TaskFailed(f"{target} is a directory", hint="end 'dest' with '/' to put the file into it")
    old = Content.of(target) if target.is_file() else None
    if old is None or old.checksum != stat.checksum:
        shows = ctx.diff and stat.size <= SHOWN
        yield Change(
            f"{target} from {args.src}",
            lambda: _get(ctx, args.src, target),
            before=(shown(old.head()) if old else "") if ctx.diff else None,
            after=shown(ctx.node.read(args.src)) if shows else None,
        )
    return {"dest": str(target), "file": args.src, "checksum": stat.checksum, "size": stat.size}


def _target(args: Arguments, ctx: Context) -> Path:
    dest = ctx.playbook_dir / Path(args.dest).expanduser()
    name = os.path.normpath("/" + args.src.lstrip("/"))[1:]  # '..' from a node must not lead out of `dest`
    if not args.flat:
        return dest / str(ctx.variables.get("inventory_hostname", ctx.host)) / name
    return dest / Path(name).name if args.dest.endswith("/") else dest


def _get(ctx: Context, path: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskFailed(f"{target.parent}: {error.strerror}") from None
    ctx.node.get(path, target)
