"""Download a file to the host, from the host.

A file that is there already, and has the `checksum` if one is given, is kept unless `force`. Returns dest, url,
checksum, status_code, mode, owner, group, size, state.
"""

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from labctl.errors import TaskFailed
from labctl.files import Attributes, properties
from labctl.files.attributes import new_mode
from labctl.node.api import Stat
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    url: str = arg(doc="http://, https:// or ftp:// address, as the host sees it.")
    dest: str = arg(doc="The file on the host, or a directory to put it in.")
    checksum: str | None = arg(None, doc="'<algorithm>:<hex digest>' the file must have.")
    force: bool = arg(False, doc="Download even if the file is there.")
    headers: dict[str, Any] = arg({}, doc="Headers to send.")
    timeout: float = arg(30.0, doc="Seconds the server may be silent.")
    validate_certs: bool = arg(True, doc="Check the server's certificate.")
    use_proxy: bool = arg(True, doc="Use the proxy of the host's environment.")
    mode: int | str | None = arg(None, doc="'0644' or 'u=rw,g=r,o='.")
    owner: str | None = arg(None, doc="User the file belongs to.")
    group: str | None = arg(None, doc="Group the file belongs to.")


def run(args: Arguments, ctx: Context) -> Steps:
    wanted = Attributes.of(args.mode, args.owner, args.group)
    algorithm, _, digest = (args.checksum or "").partition(":")
    if args.checksum and not digest:
        raise TaskFailed(f"'{args.checksum}' is not a checksum", hint="like sha256:<hex digest>")
    path, stat = _destination(args, ctx)
    values: dict[str, Any] = {"dest": path, "url": args.url}
    right = stat is not None and (
        not digest or ctx.node.call("files", "checksum", path=path, algorithm=algorithm) == digest.lower()
    )
    if args.force or not right:
        reason = "what the server has is not known in a dry run" if stat is not None and not digest else None
        answer = yield Change(
            f"download of {path}", lambda: _download(args, ctx, path, wanted, stat), unknown=reason
        )
        if answer is None:
            return values
        values |= {"status_code": answer["status"], "checksum": answer["checksum"]}
        if stat is not None and not answer["changed"]:
            values["changed"] = bool(wanted.wrong(stat))
        stat = ctx.node.stat(path, follow=True)
    if stat is not None:
        yield from wanted.changes(ctx.node, stat)
        if wanted.wrong(stat) and not ctx.check:
            stat = ctx.node.stat(path, follow=True)
    return {**values, **properties(stat)}


def _destination(args: Arguments, ctx: Context) -> tuple[str, Stat | None]:
    stat = ctx.node.stat(args.dest, follow=True)
    if not args.dest.endswith("/") and (stat is None or stat.type != "directory"):
        return args.dest, stat
    name = os.path.basename(unquote(urlsplit(args.url).path))
    if not name:
        raise TaskFailed(f"{args.url} names no file", hint="give the file name in 'dest'")
    path = os.path.join(args.dest, name)
    return path, ctx.node.stat(path, follow=True)


def _download(
    args: Arguments, ctx: Context, path: str, wanted: Attributes, stat: Stat | None
) -> dict[str, Any]:
    bits = wanted.bits(stat.mode) if stat else new_mode(ctx.node, wanted)
    fallback = stat.mode if stat else 0o666 & ~int(ctx.node.call("files", "umask"))
    answer: dict[str, Any] = ctx.node.call(
        "http",
        "download",
        url=args.url,
        path=path,
        headers={name: str(value) for name, value in args.headers.items()},
        checksum=args.checksum,
        timeout=args.timeout,
        verify=args.validate_certs,
        use_proxy=args.use_proxy,
        mode=fallback if bits is None else bits,
    )
    if "error" in answer:
        raise TaskFailed(
            f"{args.url}: {answer['error']}", url=args.url, dest=path, status_code=answer["status"]
        )
    return answer
