"""Manage a file, directory or link of the host and its attributes, but not its content.

`state`: `file` (must be there), `directory` (made with its parents), `link` and `hard` (to `src`), `touch`, `absent`
(a whole tree goes; never across a mount point). Without `state` only the attributes change.
Returns path, mode, owner, group, uid, gid, size, state.
"""

import os
import time
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import Attributes, properties
from labctl.files.attributes import new_mode
from labctl.node.api import Stat
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    path: str = arg(doc="The file on the host.", aliases=("dest", "name"))
    state: str | None = arg(
        None,
        doc="What shall be there.",
        choices=("file", "directory", "link", "hard", "touch", "absent"),
    )
    src: str | None = arg(None, doc="What a link points to.")
    mode: int | str | None = arg(None, doc="'0644' or 'u=rwX,g=rX,o='.")
    owner: str | None = arg(None, doc="User it belongs to.")
    group: str | None = arg(None, doc="Group it belongs to.")
    recurse: bool = arg(False, doc="Give everything in the directory these attributes as well.")
    follow: bool = arg(True, doc="Change what a link points to, not the link.")
    force: bool = arg(
        False, doc="Make a link to what is not there, and in place of a file or empty directory."
    )
    modification_time: str | None = arg(None, doc="'preserve', 'now', or a time.")
    modification_time_format: str = arg("%Y%m%d%H%M.%S", doc="How that time is written.")
    access_time: str | None = arg(None, doc="'preserve', 'now', or a time.")
    access_time_format: str = arg("%Y%m%d%H%M.%S", doc="How that time is written.")


def run(args: Arguments, ctx: Context) -> Steps:
    path = args.path.rstrip("/") or "/"
    wanted = Attributes.of(args.mode, args.owner, args.group)
    state = args.state or ("directory" if args.recurse else None)
    if args.recurse and state != "directory":
        raise TaskFailed("'recurse' needs state: directory")
    if state in ("link", "hard"):
        return (yield from _link(args, ctx, path, wanted, hard=state == "hard"))
    if state == "absent":
        return (yield from _absent(ctx, path))
    stat = ctx.node.stat(path, follow=args.follow)
    if state == "directory":
        return (yield from _directory(args, ctx, path, wanted, stat))
    if state == "touch":
        return (yield from _touch(args, ctx, path, wanted, stat))
    if stat is None:
        raise TaskFailed(f"there is no {path} on {ctx.host}", path=path, state="absent")
    if state == "file" and stat.type == "directory":
        raise TaskFailed(f"{path} is a directory on {ctx.host}", path=path, state="directory")
    return (yield from _attributes(ctx, path, wanted, stat, follow=args.follow))


def _attributes(ctx: Context, path: str, wanted: Attributes, stat: Stat, *, follow: bool) -> Steps:
    yield from wanted.changes(ctx.node, stat, follow=follow)
    if wanted.wrong(stat) and not ctx.check:
        return {"path": path, **properties(ctx.node.stat(path, follow=follow))}
    return {"path": path, **properties(stat)}


def _absent(ctx: Context, path: str) -> Steps:
    stat = ctx.node.stat(path)
    if stat is not None:
        yield Change(
            f"removal of {path}",
            lambda: ctx.node.remove(path),
            before=f"{stat.type}\n",
            after="absent\n",
        )
    return {"path": path, "state": "absent"}


def _directory(args: Arguments, ctx: Context, path: str, wanted: Attributes, stat: Stat | None) -> Steps:
    if stat is not None and stat.type != "directory":
        raise TaskFailed(
            f"{path} is a {stat.type} on {ctx.host}, not a directory", path=path, state=stat.type
        )
    if stat is None:
        bits = wanted.bits(0o755, directory=True) if wanted.mode else None
        yield Change(
            f"directory {path}",
            lambda: ctx.node.mkdir(path, mode=bits),
            before="absent\n",
            after="directory\n",
        )
        if ctx.check:
            return {"path": path, "state": "directory"}
        stat = ctx.node.stat(path, follow=True)
        assert stat is not None
    if args.recurse:
        return (yield from _recurse(args, ctx, path, wanted, stat))
    return (yield from _attributes(ctx, path, wanted, stat, follow=args.follow))


def _recurse(args: Arguments, ctx: Context, path: str, wanted: Attributes, stat: Stat) -> Steps:
    given = {
        "path": path,
        "mode": wanted.mode,
        "owner": args.owner,
        "group": args.group,
        "recurse": True,
        "follow": args.follow,
    }
    wrong = ctx.node.call("files", "attributes", **given)
    if wrong:
        yield Change(
            f"attributes of {len(wrong)} files below {path}",
            lambda: ctx.node.call("files", "attributes", **given, apply=True),
            after="".join(f"{name}\n" for name in wrong),
        )
        stat = ctx.node.stat(path, follow=True) or stat
    return {"path": path, **properties(stat)}


def _link(args: Arguments, ctx: Context, path: str, wanted: Attributes, *, hard: bool) -> Steps:
    if not args.src:
        raise TaskFailed(f"state: {'hard' if hard else 'link'} needs 'src'")
    folder = os.path.dirname(path)
    source = args.src if hard else os.path.join(folder, args.src)
    stat = ctx.node.stat(path)
    same = stat is not None and (
        _same_file(stat, ctx.node.stat(source)) if hard else stat.type == "link" and stat.target == args.src
    )
    if not same:
        if ctx.node.stat(source, follow=not hard) is None and not (args.force and not hard) and not ctx.check:
            hint = None if hard else "force: true makes a link to it all the same"
            raise TaskFailed(
                f"there is no {source} on {ctx.host} to link to", hint=hint, path=path, src=args.src
            )
        _refuse(args, ctx, path, stat, hard=hard)
        yield Change(
            f"{'hard link' if hard else 'link'} {path}",
            lambda: _make_link(ctx, args.src or "", path, stat, hard=hard),
            before=f"{stat.target or stat.type}\n" if stat else "absent\n",
            after=f"{args.src}\n",
        )
        stat = stat if ctx.check else ctx.node.stat(path)
    values: dict[str, Any] = {"path": path, "dest": path, "src": args.src}
    if stat is None or (ctx.check and not same):
        return {**values, "state": "hard" if hard else "link"}
    if any((wanted.owner, wanted.group, hard and wanted.mode)):
        yield from wanted.changes(ctx.node, stat, follow=False)
    return {**values, **properties(stat)}


def _same_file(first: Stat, second: Stat | None) -> bool:
    return second is not None and (first.device, first.inode) == (second.device, second.inode)


def _refuse(args: Arguments, ctx: Context, path: str, stat: Stat | None, *, hard: bool) -> None:
    if stat is None or stat.type == "link" or (stat.type == "file" and (args.force or hard)):
        return
    if stat.type == "directory" and args.force and not ctx.node.list(path):
        return
    raise TaskFailed(
        f"{path} is a {stat.type} on {ctx.host}",
        hint="force: true replaces a file or an empty directory",
        path=path,
        state=stat.type,
    )


def _make_link(ctx: Context, source: str, path: str, stat: Stat | None, *, hard: bool) -> None:
    if stat is not None and stat.type == "directory":
        ctx.node.remove(path)
    ctx.node.link(source, path, hard=hard)


def _touch(args: Arguments, ctx: Context, path: str, wanted: Attributes, stat: Stat | None) -> Steps:
    modified = _moment(args.modification_time or "now", args.modification_time_format)
    accessed = _moment(args.access_time or "now", args.access_time_format)
    if stat is None or (modified not in (None, stat.mtime)) or (accessed not in (None, stat.atime)):
        bits = None if stat else new_mode(ctx.node, wanted)
        yield Change(
            f"new file {path}" if stat is None else f"times of {path}",
            lambda: ctx.node.call(
                "files",
                "touch",
                path=path,
                mtime=modified,
                atime=accessed,
                create_mode=0o666 if bits is None else bits,
            ),
        )
        if ctx.check and stat is None:
            return {"path": path, "dest": path, "state": "file"}
        stat = ctx.node.stat(path, follow=args.follow)
        assert stat is not None
    return {"dest": path, **(yield from _attributes(ctx, path, wanted, stat, follow=args.follow))}


def _moment(text: str, form: str) -> float | None:
    if text == "preserve":
        return None
    if text == "now":
        return time.time()
    try:
        return time.mktime(time.strptime(text, form))
    except ValueError as error:
        raise TaskFailed(f"not a time: {error}") from None
