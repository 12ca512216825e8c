"""Export a directory over NFS, or mount one: the shared volume of an experiment.

Where a node's kernel has no NFS, and the directory is one that a lab binds into all of its nodes, that one
is used as it is, and says so: `kind` is then 'shared-directory' instead of 'nfs', and `msg` why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.errors import PlaybookError, TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg, load

_apt = load(Path(__file__).with_name("apt.py"))
_mount = load(Path(__file__).with_name("mount.py"))
_EXPORTS = "/etc/exports.d/labctl.exports"
_MOUNT_TIMEOUT = 30.0
# A server whose root cannot be exported (an overlay) has no tree for version 4 to start from; 3 needs none.
_OPTIONS = ("hard,timeo=50,retry=0", "vers=3,nolock,hard,timeo=50,retry=0")


@dataclass(kw_only=True)
class Arguments(Args):
    required_one_of = (("export", "mount"),)
    mutually_exclusive = (("export", "mount"), ("export", "src"), ("mount", "clients"))
    export: str | None = arg(None, doc="A directory of this node to export; made when it is not there.")
    clients: list[str] = arg(["*"], doc="Who may mount it: addresses, networks ('10.0.0.0/24'), names.")
    mount: str | None = arg(None, doc="The mount point, on this node.")
    src: str | None = arg(None, doc="What to mount: 'server:/directory'.")
    options: str | None = arg(
        None,
        doc="NFS options. Default of an export: rw,sync,no_subtree_check,no_root_squash,fsid by path;"
        " of a mount: hard,timeo=50,retry=0, then the same with vers=3,nolock.",
        aliases=("opts",),
    )
    fallback: bool = arg(True, doc="Use a lab's shared directory where NFS cannot be had.")


def run(args: Arguments, ctx: Context) -> Steps:
    path = args.export or args.mount or ""
    if not path.startswith("/"):
        raise PlaybookError(f"'nfs' needs an absolute path, not '{path}'", mark=ctx.mark)
    if args.mount and not (args.src and ":" in args.src):
        raise PlaybookError("'nfs' with 'mount' needs 'src: server:/directory'", mark=ctx.mark)
    found = ctx.node.call("mounts", "nfs", path=path)
    side = "server" if args.export else "client"
    if not found[side]:
        return _instead(args, ctx, found, f"the kernel of {ctx.host} has no NFS {side}")
    package, tools = ("nfs-kernel-server", "server_tools") if args.export else ("nfs-common", "tools")
    if not found[tools]:
        yield from _apt.run(_apt.arguments(name=[package], update_cache=True), ctx)  # type: ignore[call-arg]
    try:
        if args.export:
            yield from _export(args, ctx, found)
        else:
            yield from _mounted(args, ctx)
    except TaskFailed as error:
        if found["volume"]["kind"] != "shared-directory" or not args.fallback:
            raise
        return _instead(args, ctx, found, error.message)
    return {"kind": "nfs", "path": path, "msg": f"{path} is NFS"}


def _instead(args: Arguments, ctx: Context, found: dict[str, Any], why: str) -> dict[str, Any]:
    path = args.export or args.mount
    if found["volume"]["kind"] == "shared-directory" and args.fallback:
        message = f"{why}; {path} is a directory of one machine, bound into every node of this lab"
        return {"kind": "shared-directory", "path": path, "msg": message}
    raise TaskFailed(
        why if not args.fallback else f"{why}, and {path} is no shared directory of a lab",
        hint="nodes need a kernel with NFS (modules nfs and nfsd)",
        kind=found["volume"]["kind"],
    )


def _export(args: Arguments, ctx: Context, found: dict[str, Any]) -> Steps:
    path = str(args.export)
    if ctx.node.stat(path, follow=True) is None:
        yield Change(f"directory {path}", lambda: ctx.node.mkdir(path))
    options = args.options or f"rw,sync,no_subtree_check,no_root_squash,fsid={_fsid(path)}"
    line = f"{_quoted(path)} {' '.join(f'{client}({options})' for client in args.clients)}\n"
    try:
        text = ctx.node.read(_EXPORTS).decode(errors="replace")
    except Exception as error:  # NodeError ENOENT: no export yet
        if getattr(error, "errno_name", None) != "ENOENT":
            raise
        text = ""
    others = [old for old in text.splitlines(keepends=True) if old.split()[:1] != [_quoted(path)]]
    wanted = "".join([*others, line])
    written = wanted != text
    if written:
        yield Change(f"export of {path}", lambda: _write_exports(ctx, wanted), before=text, after=wanted)
    published = found["serving"] and any(entry.startswith(f"{path}\t") for entry in found["exports"])
    if written or not published:
        yield Change(f"publish {path}", lambda: _publish(ctx))
    return {}


def _write_exports(ctx: Context, text: str) -> None:
    ctx.node.mkdir(str(Path(_EXPORTS).parent))
    ctx.node.write(_EXPORTS, text.encode(), mode=0o644)


def _publish(ctx: Context) -> None:
    if ctx.node.call("mounts", "serving"):
        _run(ctx, ["exportfs", "-ra"])
        return
    service = ctx.node.call("services", "state", name="nfs-kernel-server")
    if service["manager"] == "init.d":
        _run(ctx, ["service", "rpcbind", "start"])  # its script wants it; systemd sees to it by itself
    _run(ctx, ["service", "nfs-kernel-server", "restart"])
    if not ctx.node.call("mounts", "serving"):
        raise TaskFailed(f"the NFS server of {ctx.host} does not serve after its start: {service['status']}")


def _mounted(args: Arguments, ctx: Context) -> Steps:
    before = ctx.node.call("mounts", "state", path=args.mount, src=args.src)
    mounted = before["mounted"]
    used = args.options
    if not (mounted and mounted["fstype"] in ("nfs", "nfs4") and before["same"]):
        if not before["directory"]:
            yield Change(f"directory {args.mount}", lambda: ctx.node.mkdir(str(args.mount)))
        used = yield Change(
            f"mount {args.mount}",
            lambda: _mount_first(args, ctx),
            before=f"{mounted['source']} {mounted['fstype']}\n" if mounted else "",
            after=f"{args.src} nfs\n",
        )
    elif not args.options and _has_line(before["fstab"], args):
        return {}
    # Only what could be mounted goes into fstab.
    line = _mount.arguments(  # type: ignore[call-arg]
        path=args.mount, src=args.src, fstype="nfs", opts=used or _OPTIONS[0], state="present"
    )
    yield from _mount.run(line, ctx)
    return {}


def _mount_first(args: Arguments, ctx: Context) -> str:
    """Mount with the options given, or the first of the usual ones that works; these options."""
    choices = [args.options] if args.options else list(_OPTIONS)
    for options in choices:
        argv = ["mount", "-t", "nfs", "-o", options, str(args.src), str(args.mount)]
        try:
            _run(ctx, argv)
        except TaskFailed:
            if options == choices[-1]:
                raise
        else:
            break
    return options


def _has_line(fstab: str | None, args: Arguments) -> bool:
    return any(line.split()[:2] == [args.src, args.mount] for line in (fstab or "").splitlines())


def _run(ctx: Context, argv: list[str]) -> None:
    limit = ctx.timeout or _MOUNT_TIMEOUT
    done = ctx.node.run(argv, timeout=limit, output=ctx.output)
    if done.rc or done.timed_out:
        said = "; ".join(line.strip() for line in done.error_text().splitlines() if line.strip())
        reason = f"no answer within {limit:g} s" if done.timed_out else said or f"exit status {done.rc}"
        raise TaskFailed(f"'{' '.join(argv)}' failed on {ctx.host}: {reason}", rc=done.rc)


def _fsid(path: str) -> int:
    """A number for exports whose file system has none of its own (overlay, tmpfs); the same at every run."""
    import zlib

    return zlib.crc32(path.encode()) & 0x7FFFFFFF or 1


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
