"""Copy a file from the host to this machine.

It goes to `dest/<host>/<path>`, so that files of several hosts do not meet, or to `dest` itself with `flat`.
Content is compared by checksum (sha1). Returns dest, checksum, md5sum, and of a file that was there already
file, else remote_checksum.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import TaskFailed
from labctl.files import Content, shown
from labctl.files.content import SHOWN
from labctl.files.paths import on_node
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    src: str = arg(doc="The file on the host.")
    dest: str = arg(
        doc="A directory of this machine (relative to the playbook); with `flat` the file itself."
    )
    flat: bool = arg(False, doc="`dest` is the file, or, with a slash at the end, the directory it goes to.")
    fail_on_missing: bool = arg(True, doc="A file that is not there is a failure.")
    validate_checksum: bool = arg(True, doc="Compare the checksum once more when the file is here.")


def run(args: Arguments, ctx: Context) -> Steps:
    source = on_node(ctx, args.src)
    stat = ctx.node.stat(source, follow=True, checksum=True)
    if stat is None or stat.type == "directory":
        missing = stat is None
        if args.fail_on_missing:
            what = "is not there" if missing else "is a directory; fetch takes files"
            raise TaskFailed(f"{source} on {ctx.host} {what}")
        if missing:
            return {"msg": "the remote file does not exist, not transferring, ignored", "file": source}
        return {
            "msg": "remote file is a directory, fetch cannot work on directories, not transferring, ignored"
        }
    target = _target(args, ctx, source)
    if target.is_dir():
        raise TaskFailed(f"{target} is a directory", hint="end 'dest' with '/' to put the file into it")
    old = Content.of(target, md5=True) if target.is_file() else None
    if old is not None and old.checksum == stat.checksum:
        return {"dest": str(target), "file": source, "checksum": old.checksum, "md5sum": old.md5()}
    shows = ctx.diff and stat.size <= SHOWN
    yield Change(
        f"{target} from {source}",
        lambda: _get(ctx, source, target),
        before=(shown(old.head()) if old else "") if ctx.diff else None,
        after=shown(ctx.node.read(source)) if shows else None,
    )
    if ctx.check:
        return {"dest": str(target), "checksum": stat.checksum}
    new = Content.of(target, md5=True)
    remote = stat.checksum if stat.type == "file" else new.checksum
    if args.validate_checksum and new.checksum != remote:
        raise TaskFailed("checksum mismatch", file=source, dest=str(target), checksum=new.checksum)
    return {
        "dest": str(target),
        "checksum": new.checksum,
        "md5sum": new.md5(),
        "remote_checksum": remote,
        "remote_md5sum": None,
    }


def _target(args: Arguments, ctx: Context, source: str) -> Path:
    given = os.path.expanduser(args.dest)
    name = os.path.normpath("/" + source.lstrip("/"))[1:]  # '..' from a node must not lead out of `dest`
    if not args.flat:
        host = str(ctx.variables.get("inventory_hostname", ctx.host))
        return Path(os.path.abspath(ctx.playbook_dir / given / host / name))
    path = os.path.join(given, os.path.basename(name)) if given.endswith("/") else given
    return Path(os.path.abspath(ctx.playbook_dir / path))


def _get(ctx: Context, path: str, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TaskFailed(f"{target.parent}: {error.strerror}") from None
    ctx.node.get(path, target)
