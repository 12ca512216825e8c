"""Manage a file, directory or link of the host and its attributes, but not its content.

`state`: `file` (must be there), `directory` (made with its parents), `link` and `hard` (to `src`), `touch`, `absent`
(a whole tree goes; never across a mount point). Without `state` only the attributes change.
Returns path (dest of touch and links), mode, owner, group, uid, gid, size, state.
"""

import os
import time
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import Attributes, FileArgs, properties
from labctl.files.attributes import new_mode
from labctl.files.paths import on_node
from labctl.node.api import Stat
from labctl.task_types import Change, Context, Steps, arg

_TIME = "%Y%m%d%H%M.%S"


@dataclass(kw_only=True)
class Arguments(FileArgs):
    path: str = arg(doc="The file on the host.", aliases=("dest", "name"))
    state: str | None = arg(
        None,
        doc="What shall be there.",
        choices=("file", "directory", "link", "hard", "touch", "absent"),
    )
    src: str | None = arg(None, doc="What a link points to.")
    recurse: bool = arg(False, doc="Give everything in the directory these attributes as well.")
    follow: bool = arg(True, doc="Change what a link points to, not the link.")
    force: bool = arg(
        False, doc="Make a link to what is not there, and in place of a file or empty directory."
    )
    modification_time: str | None = arg(None, doc="'preserve', 'now', or a time.")
    modification_time_format: str = arg(_TIME, doc="How that time is written.")
    access_time: str | None = arg(None, doc="'preserve', 'now', or a time.")
    access_time_format: str = arg(_TIME, doc="How that time is written.")


def run(args: Arguments, ctx: Context) -> Steps:
    path = on_node(ctx, args.path)
    wanted = args.wanted()
    state = args.state or ("directory" if args.recurse else None)
    if args.recurse and state != "directory":
        raise TaskFailed("recurse option requires state to be 'directory'", path=path)
    if state == "absent":
        return (yield from _absent(ctx, path))
    if state in ("link", "hard"):
        return (yield from _link(args, ctx, path, wanted, hard=state == "hard"))
    stat = ctx.node.stat(path, follow=args.follow)
    if args.src is not None:
        raise TaskFailed("src option requires state to be 'link' or 'hard'", path=path)
    if state == "directory":
        return (yield from _directory(args, ctx, path, wanted, stat))
    if state == "touch":
        return (yield from _touch(args, ctx, path, wanted, stat))
    if stat is None:
        raise TaskFailed(f"file ({path}) is absent, cannot continue", path=path, state="absent")
    if state == "file" and stat.type in ("directory", "link"):
        raise TaskFailed(f"file ({path}) is {stat.type}, cannot continue", path=path, **properties(stat))
    return (yield from _attributes(args, ctx, path, wanted, stat))


def _attributes(args: Arguments, ctx: Context, path: str, wanted: Attributes, stat: Stat) -> Steps:
    yield from wanted.changes(ctx.node, stat, follow=args.follow)
    moved = yield from _times(args, ctx, stat, "preserve")
    named = {"path": path}
    if (wanted.wrong(stat) or moved) and not ctx.check:
        return {**named, **properties(ctx.node.stat(path, follow=args.follow))}
    return {**named, **properties(stat)}


def _times(args: Arguments, ctx: Context, stat: Stat, default: str) -> Steps:
    """The changes that give an existing file its times; returns something when there was one."""
    modified = _moment(args.modification_time or default, args.modification_time_format)
    accessed = _moment(args.access_time or default, args.access_time_format)
    if modified in (None, stat.mtime) and accessed in (None, stat.atime):
        return {}
    yield Change(
        f"times of {stat.path}",
        lambda: ctx.node.call("files", "touch", path=stat.path, mtime=modified, atime=accessed),
    )
    return {"moved": True}


def _absent(ctx: Context, path: str) -> Steps:
    stat = ctx.node.stat(path.rstrip("/") or "/")
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
        raise TaskFailed(f"{path} already exists as a {stat.type}", path=path, **properties(stat))
    if stat is None:
        bits = wanted.bits(0o755, directory=True) if wanted.mode else None
        yield Change(
            f"directory {path}",
            lambda: ctx.node.call(
                "files", "make_folders", path=path, mode=bits, owner=wanted.owner, group=wanted.group
            ),
            before="absent\n",
            after="directory\n",
        )
        if ctx.check:
            return {"path": path, "state": "directory"}
        stat = ctx.node.stat(path, follow=True)
        assert stat is not None
    if args.recurse:
        return (yield from _recurse(args, ctx, path, wanted, stat))
    return (yield from _attributes(args, ctx, path, wanted, stat))


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
    yield from wanted.further(ctx.node, path)
    return {"path": path, **properties(stat)}


def _link(args: Arguments, ctx: Context, path: str, wanted: Attributes, *, hard: bool) -> Steps:
    stat = ctx.node.stat(path)
    if args.src is None and (stat is None or (not hard and stat.type != "link")):
        raise TaskFailed(f"src is required for creating new {'hardlinks' if hard else 'symlinks'}")
    target = (
        (stat.target if stat is not None and not hard else None)
        if args.src is None
        else on_node(ctx, args.src)
    )
    if target is None:
        assert stat is not None
        return {"dest": path, "src": None, **properties(stat)}
    folder = path if stat is not None and stat.type == "directory" else os.path.dirname(path)
    source = target if hard else os.path.join(folder, target)
    there = ctx.node.stat(source, follow=not hard)
    if there is None and args.src is not None and (hard or not args.force) and not ctx.check:
        hint = None if hard else "force: true makes a link to it all the same"
        raise TaskFailed(f"src file does not exist: {source}", hint=hint, path=path, src=args.src)
    if hard:
        same = stat is not None and there is not None and _same_file(stat, there)
    else:
        same = stat is not None and stat.type == "link" and stat.target == target
    if not same:
        _refuse(args, ctx, path, stat, hard=hard)
        yield Change(
            f"{'hard link' if hard else 'link'} {path}",
            lambda: _make_link(ctx, target, path, stat, hard=hard),
            before=f"{stat.target or stat.type}\n" if stat else "absent\n",
            after=f"{target}\n",
        )
        stat = stat if ctx.check else ctx.node.stat(path)
    values: dict[str, Any] = {"dest": path, "src": target}
    if stat is None or (ctx.check and not same):
        return {**values, "state": "hard" if hard else "link"}
    managed = there if args.follow and not hard else stat
    if managed is not None:
        yield from wanted.changes(ctx.node, managed, follow=args.follow)
        yield from _times(args, ctx, managed, "preserve")
    if there is None and not hard:
        return values  # Ansible describes no link to nothing
    return {**values, **properties(stat)}


def _same_file(first: Stat, second: Stat) -> bool:
    return (first.device, first.inode) == (second.device, second.inode)


def _refuse(args: Arguments, ctx: Context, path: str, stat: Stat | None, *, hard: bool) -> None:
    if stat is None or stat.type == "link" or (stat.type != "directory" and args.force):
        return
    if stat.type == "directory" and args.force and not ctx.node.list(path):
        return
    raise TaskFailed(
        f"refusing to convert from {stat.type} to {'hard link' if hard else 'symlink'} for {path}",
        hint="force: true replaces a file or an empty directory",
        path=path,
        **properties(stat),
    )


def _make_link(ctx: Context, source: str, path: str, stat: Stat | None, *, hard: bool) -> None:
    if stat is not None and stat.type == "directory":
        ctx.node.remove(path)
    ctx.node.link(source, path, hard=hard)


def _touch(args: Arguments, ctx: Context, path: str, wanted: Attributes, stat: Stat | None) -> Steps:
    if stat is None:
        bits = new_mode(ctx.node, wanted)
        modified = _moment(args.modification_time or "now", args.modification_time_format)
        accessed = _moment(args.access_time or "now", args.access_time_format)
        yield Change(
            f"new file {path}",
            lambda: ctx.node.call(
                "files",
                "touch",
                path=path,
                mtime=modified,
                atime=accessed,
                create_mode=0o666 if bits is None else bits,
            ),
        )
        if ctx.check:
            return {"dest": path, "state": "file"}
        stat = ctx.node.stat(path, follow=args.follow)
        assert stat is not None
    else:
        yield from _times(args, ctx, stat, "now")
    yield from wanted.changes(ctx.node, stat, follow=args.follow)
    return {"dest": path, **properties(stat if ctx.check else ctx.node.stat(path, follow=args.follow))}


def _moment(text: str, form: str) -> float | None:
    if text == "preserve":
        return None
    if text == "now":
        return time.time()
    try:
        return time.mktime(time.strptime(text, form))
    except ValueError as error:
        raise TaskFailed(f"not a time: {error}") from None
