"""Download a file to the host, from the host.

A file that is there already and has the `checksum` is left alone; without a checksum the server is asked whether
it has a newer one. Returns dest, url, checksum_src, checksum_dest, md5sum, status_code, mode, owner, group, size,
state, backup_file.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from labctl.errors import TaskFailed
from labctl.files import properties
from labctl.files.attributes import new_mode
from labctl.files.paths import on_node
from labctl.files.web import WebArgs
from labctl.node.api import Stat
from labctl.task_types import Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(WebArgs):
    dest: str = arg(doc="The file on the host, or a directory to put it in.")
    checksum: str | None = arg(
        None, doc="'<algorithm>:<hex digest>' the file must have, or '<algorithm>:<address of a list>'."
    )
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    timeout: float = arg(10.0, doc="Seconds the server may be silent.")
    tmp_dest: str | None = arg(None, doc="The directory the download goes to first.")


def run(args: Arguments, ctx: Context) -> Steps:
    wanted = args.wanted()
    args.dest = on_node(ctx, args.dest)
    algorithm, digest = _checksum(args, ctx)
    stat = ctx.node.stat(args.dest, follow=True)
    values: dict[str, Any] = {"dest": args.dest, "url": args.url, "checksum_src": None, "checksum_dest": None}
    folder = stat is not None and stat.type == "directory"
    there = None if folder else stat
    is_right = there is not None and digest and not args.force
    if is_right and ctx.node.call("files", "checksum", path=args.dest, algorithm=algorithm) == digest:
        assert there is not None
        yield from wanted.changes(ctx.node, there)
        if wanted.wrong(there) and not ctx.check:
            there = ctx.node.stat(args.dest, follow=True)
        return {**values, **properties(there)}
    known = there is not None and not digest
    answer = yield Change(
        f"download of {args.url}",
        lambda: _download(args, ctx, there, f"{algorithm}:{digest}" if digest else None),
        unknown="what the server has is not known in a dry run" if known or folder else None,
    )
    if answer is None:
        return values
    values["status_code"] = answer["status"]
    if answer["status"] == 304:
        return {"dest": args.dest, "url": args.url, "status_code": 304, **properties(there), "changed": False}
    path = answer["path"]
    values |= {
        "dest": path,
        "checksum_src": answer["checksum"],
        "checksum_dest": answer["old"],
        "md5sum": answer["md5sum"],
    }
    if answer["backup_file"]:
        values["backup_file"] = answer["backup_file"]
    stat = ctx.node.stat(path, follow=True)
    assert stat is not None
    changed = bool(answer["changed"] or wanted.wrong(stat))
    yield from wanted.changes(ctx.node, stat)
    if wanted.wrong(stat):
        stat = ctx.node.stat(path, follow=True)
    return {**values, **properties(stat), "msg": answer["said"], "changed": changed}


def _checksum(args: Arguments, ctx: Context) -> tuple[str, str]:
    """Algorithm and digest; an address of a list of digests is fetched by the host."""
    if not args.checksum:
        return "", ""
    algorithm, colon, digest = args.checksum.partition(":")
    if not colon:
        raise TaskFailed(
            "The checksum parameter has to be in format <algorithm>:<checksum>",
            hint="like sha256:<hex digest>",
        )
    if urlsplit(digest).scheme in ("http", "https", "ftp", "file"):
        answer = ctx.node.call("http", "request", url=digest, timeout=args.timeout, **args.options())
        if answer["status"] not in (200, None):
            raise TaskFailed(f"{digest}: {answer.get('error') or answer.get('reason')}", url=digest)
        digest = _listed(base64.b64decode(answer["body"]).decode(errors="replace"), args.url, digest)
    digest = re.sub(r"\W+", "", digest).lower()
    if not re.fullmatch(r"[0-9a-f]+", digest):
        raise TaskFailed("The checksum format is invalid")
    return algorithm, digest


def _listed(text: str, url: str, source: str) -> str:
    name = urlsplit(url).path.rpartition("/")[2] or "index.html"
    lines = text.splitlines()
    if len(lines) == 1 and len(lines[0].split()) == 1:
        return lines[0].strip()
    for line in lines:
        found = re.fullmatch(r"\w+ ?\((?P<path>.+)\) ?= (?P<digest>[\w.]+)", line) or re.fullmatch(
            r"(?P<digest>[\w.]+)\s+(?:\*|\./|\.)?(?P<path>.+)", line
        )
        if found and found["path"].lstrip("./") == name:
            return found["digest"]
    raise TaskFailed(f"Unable to find a checksum for file '{name}' in '{source}'")


def _download(args: Arguments, ctx: Context, stat: Stat | None, checksum: str | None) -> dict[str, Any]:
    wanted = args.wanted()
    answer: dict[str, Any] = ctx.node.call(
        "http",
        "download",
        url=args.url,
        path=args.dest,
        checksum=checksum,
        mode=wanted.bits(stat.mode) if stat else new_mode(ctx.node, wanted),
        backup=args.backup,
        folder=args.tmp_dest,
        newer_than=stat.mtime if stat and not args.force and not checksum else None,
        timeout=args.timeout,
        **args.options(),
    )
    if "checksum" in answer and "error" in answer:
        old = None if stat is None else ctx.node.call("files", "checksum", path=args.dest)
        raise TaskFailed(
            answer["error"], url=args.url, dest=args.dest, checksum_src=answer["checksum"], checksum_dest=old
        )
    if "error" in answer:
        raise TaskFailed(
            f"Request failed: {answer['error']}",
            url=args.url,
            dest=args.dest,
            status_code=answer["status"],
            response=answer["error"],
        )
    return answer
