"""Put a file, a tree of files or a text on the host.

A relative `src` is sought in `files/` of the role or playbook. A directory is copied into `dest`, or, with a
slash after its name, what is in it. Content is compared by checksum (sha1) and replaced atomically, with
the right mode from the first byte; an existing file keeps its mode and owner where none is given.
Returns dest, checksum, mode, owner, group, uid, gid, size, state, and of a file that was written md5sum and
backup_file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import Content, FileArgs, Manner, place, properties
from labctl.files.attributes import octal, stat_of
from labctl.files.destination import destination, make_folder
from labctl.files.paths import on_node
from labctl.files.trees import TreeModes, place_tree
from labctl.task_types import Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(FileArgs):
    dest: str = arg(doc="The path on the host; with a slash at the end a directory to put `src` in.")
    src: str | None = arg(None, doc="A file or directory of the controller (of the host with `remote_src`).")
    content: Any = arg(None, doc="What the file shall hold, instead of `src`; a dict or list becomes JSON.")
    remote_src: bool = arg(False, doc="`src` is on the host.")
    directory_mode: int | str | None = arg(None, doc="The mode of directories that are made.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    force: bool = arg(True, doc="Replace a file that differs; if not, only make one that is missing.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")
    follow: bool = arg(False, doc="Write through a link at `dest` instead of replacing it.")
    local_follow: bool | None = arg(
        None, doc="Copy what links in `src` point to (the default, but for a tree with `remote_src`)."
    )
    checksum: str | None = arg(None, doc="The sha1 checksum `src` must have.")
    decrypt: bool = arg(True, doc="Decrypt a `src` that is encrypted with vault.")

    required_one_of = (("src", "content"),)
    mutually_exclusive = (("src", "content"),)


def run(args: Arguments, ctx: Context) -> Steps:
    args.dest = on_node(ctx, args.dest)
    if args.remote_src and args.src is not None:
        return (yield from _remote(args, ctx, on_node(ctx, args.src)))
    if args.src is None:
        if args.content is None:
            raise TaskFailed("src (or content) is required")
        if args.dest.endswith("/"):
            raise TaskFailed("can not use content with a dir as dest")
        name, content, preserved = None, Content.of(_bytes(args.content)), None
    else:
        source = ctx.find("files", args.src)
        if source.is_dir():
            return (yield from _tree(args, ctx, source))
        preserved = octal(source.stat().st_mode & 0o7777) if args.mode == "preserve" else None
        name, content = source.name, _local(args, ctx, source)
    if args.checksum not in (None, content.checksum):
        raise TaskFailed(
            "Copied file does not match the expected checksum. Transfer failed.",
            checksum=content.checksum,
            expected_checksum=args.checksum,
        )
    path, stat = destination(ctx, args.dest, name, follow=args.follow)
    if stat is not None and not args.force:
        return {"dest": args.dest, **({"src": str(source)} if args.src is not None else {})}
    wanted = args.wanted(preserved)
    if stat is None and args.dest.endswith("/"):
        yield from make_folder(ctx, args.dest, args.directory_mode, wanted)
    manner = Manner(backup=args.backup, validate=args.validate)
    return (yield from place(ctx, path, content, wanted, stat=stat, manner=manner))


def _bytes(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, dict | list):
        import json

        return json.dumps(content).encode()
    return str(content).encode("utf-8", "surrogateescape")


def _local(args: Arguments, ctx: Context, source: Path) -> Content:
    try:
        with source.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        raise TaskFailed(f"{source}: {error.strerror}") from None
    return Content.of(source, decrypt=args.decrypt)


def _tree(args: Arguments, ctx: Context, source: Path) -> Steps:
    inside = (args.src or "").endswith("/")
    dest = args.dest if args.dest.endswith("/") else f"{args.dest}/"
    preserve = args.mode == "preserve"
    wanted = args.wanted("0644" if preserve else None)
    folders = FileArgs(mode=args.directory_mode, owner=args.owner, group=args.group).wanted()
    done = yield from place_tree(
        ctx,
        source,
        (dest.rstrip("/") if inside else dest + source.name) or "/",
        modes=TreeModes(wanted, folders, preserve),
        follow=args.local_follow is not False,
        decrypt=args.decrypt,
        manner=Manner(backup=args.backup, force=args.force, validate=args.validate),
    )
    if done["files"] == 1:
        return dict(done["last"])
    return {"dest": dest, "src": f"{source}/" if inside else str(source)}


def _remote(args: Arguments, ctx: Context, source: str) -> Steps:
    node = ctx.node
    found = node.call("files_copy", "look", source=source, destination=args.dest, follow=args.follow)
    if found["source"] is None:
        raise TaskFailed(f"Source {source} not found on {ctx.host}")
    path, there = found["path"], stat_of(found["destination"])
    if args.checksum not in (None, found["checksum"]):
        raise TaskFailed("Copied file does not match the expected checksum. Transfer failed.")
    wanted = args.wanted(octal(found["source"]["mode"]) if args.mode == "preserve" else None)
    if found["source"]["type"] == "directory":
        return (yield from _remote_tree(args, ctx, source, found))
    if there is not None and not args.force:
        return {"dest": path, "src": source, **properties(there), "changed": False}
    values: dict[str, Any] = {
        "dest": path,
        "src": source,
        "checksum": found["checksum"],
        "md5sum": found["md5sum"],
    }
    if there is None and args.dest.endswith("/"):
        yield from make_folder(ctx, args.dest, args.directory_mode, wanted)
    if not found["same"]:
        if there is None and not ctx.check and not found["folder"] and not args.dest.endswith("/"):
            raise TaskFailed(f"Destination directory {path.rpartition('/')[0]} does not exist")
        if args.validate and "%s" not in args.validate:
            raise TaskFailed(f"validate must contain %s: {args.validate}")
        kept = yield Change(
            f"copy of {source} at {path}",
            lambda: node.call(
                "files_copy",
                "copy",
                source=source,
                destination=path,
                mode=wanted.mode,
                backup=args.backup,
                validate=args.validate,
            ),
        )
        if kept:
            values["backup_file"] = kept
        if ctx.check:
            return values
        there = node.stat(path)
    if there is not None:
        yield from wanted.changes(node, there)
        there = node.stat(path) if wanted.wrong(there) and not ctx.check else there
    return {**values, **properties(there)}


def _remote_tree(args: Arguments, ctx: Context, source: str, found: dict[str, Any]) -> Steps:
    node = ctx.node
    wanted = args.wanted(octal(found["source"]["mode"]) if args.mode == "preserve" else None)
    given = {
        "source": source,
        "destination": found["tree"],
        "owner": args.owner,
        "group": args.group,
        "follow": bool(args.local_follow),
    }
    wrong = node.call("files_copy", "tree", **given)
    if wrong:
        yield Change(
            f"{len(wrong)} files of {source} in {found['tree']}",
            lambda: node.call("files_copy", "tree", **given, apply=True),
            after="".join(f"{name}\n" for name in wrong[:1000]),
        )
    values = {"dest": found["path"], "src": source, "checksum": None, "md5sum": None}
    if ctx.check and wrong:
        return values
    stat = node.stat(found["path"], follow=True)
    if stat is not None:
        yield from wanted.changes(node, stat)
        stat = node.stat(found["path"], follow=True) if wanted.wrong(stat) and not ctx.check else stat
    return {**values, **properties(stat)}
