"""Unpack an archive on the host.

Tar (plain or with gzip, bzip2, xz, zstd) and zip, by the host's tar and unzip.

What the archive holds is compared with what is there, and only an archive with a difference is unpacked.
`src` is in `files/` of the role or playbook, or with `remote_src` on the host (or an address it can download).
Returns dest, src, handler, extract_results, files (with `list_files`), mode, owner …
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import Content, FileArgs, properties
from labctl.files.paths import on_node
from labctl.task_types import Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(FileArgs):
    src: str = arg(doc="The archive.")
    dest: str = arg(doc="The directory to unpack it in; it must be there.")
    remote_src: bool = arg(False, doc="`src` is on the host, or an address (http://…).")
    copy: bool | None = arg(None, doc="The opposite of `remote_src`.")
    creates: str | None = arg(None, doc="A path; when it exists nothing is unpacked.")
    list_files: bool = arg(False, doc="Return the names in the archive as `files`.")
    exclude: list[str] = arg([], doc="Names not to unpack.")
    include: list[str] = arg([], doc="Only these names.")
    keep_newer: bool = arg(False, doc="Do not replace files newer than those of the archive.")
    extra_opts: list[str] = arg([], doc="More words of the command line of tar or unzip.")
    validate_certs: bool = arg(True, doc="Check the certificate of the server of `src`.")
    decrypt: bool = arg(True, doc="Decrypt a `src` of this machine that is encrypted with vault.")
    io_buffer_size: int = arg(64 * 1024, doc="Accepted; the host's tar or unzip reads the archive.")

    mutually_exclusive = (("include", "exclude"), ("copy", "remote_src"))


def run(args: Arguments, ctx: Context) -> Steps:
    node = ctx.node
    remote = args.remote_src if args.copy is None else not args.copy
    dest = on_node(ctx, args.dest)
    if args.creates and node.stat(on_node(ctx, args.creates), follow=True) is not None:
        return {"skipped": True, "msg": f"skipped, since {args.creates} exists"}
    if "://" in args.src and not remote:
        raise TaskFailed("an address as 'src' needs remote_src: true")
    source, trial = on_node(ctx, args.src), None
    folder = (
        None
        if remote and "://" not in args.src
        else node.call(
            "files", "temporary", directory=True, folder=None, prefix="labctl-unarchive-", suffix=""
        )
    )
    try:
        if folder is not None:
            source = trial = f"{folder}/{args.src.rstrip('/').rpartition('/')[2] or 'archive'}"
            _bring(args, ctx, trial, remote=remote)
        return (yield from _unpack(args, ctx, source, dest))
    finally:
        if folder is not None:
            node.remove(folder)


def _bring(args: Arguments, ctx: Context, path: str, *, remote: bool) -> None:
    """Put the archive where the host can read it."""
    if remote:
        answer = ctx.node.call(
            "http", "download", url=args.src, path=path, verify=args.validate_certs, mode=0o600
        )
        if "error" in answer:
            raise TaskFailed(f"{args.src}: {answer['error']}")
        return
    content = Content.of(ctx.find("files", args.src), decrypt=args.decrypt)
    if isinstance(content.data, bytes):
        ctx.node.write(path, content.data, mode=0o600)
    else:
        ctx.node.put(content.data, path, mode=0o600)


def _unpack(args: Arguments, ctx: Context, source: str, dest: str) -> Steps:
    wanted = args.wanted()
    given: dict[str, Any] = {
        "source": source,
        "dest": dest,
        "include": args.include,
        "exclude": args.exclude,
        "options": args.extra_opts,
        "keep_newer": args.keep_newer,
        "mode": wanted.mode,
        "owner": args.owner,
        "group": args.group,
    }
    found = ctx.node.call("archives", "compare", **given)
    if "error" in found:
        raise TaskFailed(found["error"])
    values: dict[str, Any] = {"dest": dest, "handler": found["handler"]}
    if args.remote_src and "://" not in args.src:
        values["src"] = source
    if args.list_files:
        values["files"] = found["files"]
    if found["different"]:
        done = yield Change(
            f"{args.src.rpartition('/')[2]} unpacked in {dest}",
            lambda: ctx.node.call("archives", "unpack", **given),
            after="".join(f"{name}\n" for name in found["different"][:1000]),
        )
        if done is not None:
            values["extract_results"] = done
            if done["rc"]:
                raise TaskFailed(f"failed to unpack {source} to {dest}: {done['err'].strip()}", **values)
    elif found["attributes"]:
        yield Change(
            f"attributes of {len(found['attributes'])} files in {dest}",
            lambda: ctx.node.call("archives", "attributes", **given, names=found["files"]),
        )
    return {**values, **properties(ctx.node.stat(dest, follow=True))}
