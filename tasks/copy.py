"""Put a file, a tree of files or a text on the host.

A relative `src` is sought in `files/` of the role or playbook. A directory is copied into `dest`, or, with a
slash after its name, what is in it. Content is compared by checksum (sha256) and replaced atomically, with
the right mode from the first byte; an existing file keeps its mode and owner where none is given.
Returns dest, src, checksum, mode, owner, group, uid, gid, size, state, backup_file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import Attributes, place, properties
from labctl.files.attributes import mode_text, octal, stat_of
from labctl.files.content import Content
from labctl.files.trees import place_tree
from labctl.node.api import Stat
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    dest: str = arg(doc="The path on the host; with a slash at the end a directory to put `src` in.")
    src: str | None = arg(None, doc="A file or directory of the controller (of the host with `remote_src`).")
    content: Any = arg(None, doc="What the file shall hold, instead of `src`; a dict or list becomes JSON.")
    remote_src: bool = arg(False, doc="`src` is on the host.")
    mode: int | str | None = arg(None, doc="'0644', 'u=rw,g=r,o=', or 'preserve': as the source has it.")
    directory_mode: int | str | None = arg(None, doc="The mode of directories that are made.")
    owner: str | None = arg(None, doc="User the file belongs to.")
    group: str | None = arg(None, doc="Group the file belongs to.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    force: bool = arg(True, doc="Replace a file that differs; if not, only make one that is missing.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")

    required_one_of = (("src", "content"),)
    mutually_exclusive = (("src", "content"),)


def run(args: Arguments, ctx: Context) -> Steps:
    if args.remote_src and args.src is not None:
        return (yield from _remote(args, ctx))
    if args.src is None:
        path = args.dest
        if path.endswith("/"):
            raise TaskFailed("'content' needs a file name in 'dest', not a directory")
        stat = ctx.node.stat(path, follow=True, checksum=True)
        content, preserved = Content.of(_bytes(args.content)), None
    else:
        source = ctx.find("files", args.src)
        preserved = octal(source.stat().st_mode & 0o7777) if args.mode == "preserve" else None
        if source.is_dir():
            return (yield from _tree(args, ctx, source))
        path, stat = _destination(args, ctx, source.name)
        content = Content.of(_local(source))
    wanted = Attributes.of(preserved or args.mode, args.owner, args.group)
    made = args.dest.endswith("/") and stat is None and args.src is not None
    if made and ctx.node.stat(args.dest, follow=True) is None:
        folder_mode = None if args.directory_mode is None else int(mode_text(args.directory_mode), 8)
        yield Change(f"directory {args.dest}", lambda: ctx.node.mkdir(args.dest, mode=folder_mode))
    values = yield from place(
        ctx,
        path,
        content,
        wanted,
        stat=stat,
        backup=args.backup,
        force=args.force,
        validate=args.validate,
    )
    return {**values, "src": args.src} if args.src is not None else values


def _bytes(content: Any) -> bytes:
    if isinstance(content, str):
        return content.encode()
    import json

    return json.dumps(content).encode() if not isinstance(content, bytes) else content


def _local(source: Path) -> Path:
    try:
        with source.open("rb"):
            return source
    except OSError as error:
        raise TaskFailed(f"{source}: {error.strerror}") from None


def _destination(args: Arguments, ctx: Context, name: str) -> tuple[str, Stat | None]:
    """Where the file goes, and what is there."""
    if args.dest.endswith("/"):
        path = args.dest + name
        return path, ctx.node.stat(path, follow=True, checksum=True)
    stat = ctx.node.stat(args.dest, follow=True, checksum=True)
    if stat is not None and stat.type == "directory":
        path = f"{args.dest}/{name}"
        return path, ctx.node.stat(path, follow=True, checksum=True)
    return args.dest, stat


def _tree(args: Arguments, ctx: Context, source: Path) -> Steps:
    inside = (args.src or "").endswith("/")
    root = args.dest.rstrip("/") if inside else f"{args.dest.rstrip('/')}/{source.name}"
    preserve = args.mode == "preserve"
    wanted = Attributes.of(None if preserve else args.mode, args.owner, args.group)
    folders = Attributes.of(args.directory_mode, args.owner, args.group)
    yield from place_tree(
        ctx,
        source,
        root or "/",
        files=wanted,
        folders=folders,
        preserve=preserve,
        backup=args.backup,
        force=args.force,
    )
    return {"dest": args.dest, "src": args.src}


def _remote(args: Arguments, ctx: Context) -> Steps:
    node, source = ctx.node, (args.src or "").rstrip("/") or "/"
    name = source.rpartition("/")[2]
    path = args.dest + name if args.dest.endswith("/") else args.dest
    found = node.call("files_copy", "same", source=source, destination=path)
    if found["source"] is None:
        raise TaskFailed(f"there is no {source} on {ctx.host}")
    is_folder = found["source"]["type"] == "directory"
    there = found["destination"]
    if (
        there
        and there["type"] == "directory"
        and not args.dest.endswith("/")
        and not (args.src or "").endswith("/")
    ):
        path = f"{path}/{name}"
        found = node.call("files_copy", "same", source=source, destination=path)
        there = found["destination"]
    preserved = octal(found["source"]["mode"])
    wanted = Attributes.of(preserved if args.mode == "preserve" else args.mode, args.owner, args.group)
    values: dict[str, Any] = {"dest": path, "src": args.src}
    if not found["same"] and (args.force or there is None):
        kept = yield Change(
            f"copy of {source} at {path}",
            lambda: node.call(
                "files_copy", "copy", source=source, destination=path, mode=wanted.mode, backup=args.backup
            ),
        )
        if kept:
            values["backup_file"] = kept
        if ctx.check:
            return values
        there = vars_of(node.stat(path, follow=True))
    stat = stat_of(there)
    if stat is not None and not is_folder:
        yield from wanted.changes(node, stat)
        stat = node.stat(path, follow=True) if wanted.wrong(stat) and not ctx.check else stat
    return {**values, **properties(stat)}


def vars_of(stat: Stat | None) -> dict[str, Any] | None:
    return None if stat is None else {name: getattr(stat, name) for name in Stat.__slots__}
