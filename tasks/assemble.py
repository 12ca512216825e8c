"""Make one file of the host out of the fragments in a directory, in the order of their names.

Returns what `copy` returns.
"""

from __future__ import annotations

import base64
import codecs
import os
import re
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import TaskFailed
from labctl.files import Content, FileArgs, Manner, place
from labctl.files.destination import destination
from labctl.files.paths import on_node
from labctl.task_types import Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(FileArgs):
    src: str = arg(doc="The directory of the fragments.")
    dest: str = arg(doc="The file to make.")
    remote_src: bool = arg(True, doc="`src` is on the host; else in `files/` of the role or playbook.")
    delimiter: str | None = arg(None, doc="What stands between two fragments; \\n is a newline.")
    regexp: str | None = arg(None, doc="Only fragments whose names match.")
    ignore_hidden: bool = arg(False, doc="Leave out fragments whose names begin with a dot.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    follow: bool = arg(False, doc="Write through a link at `dest` instead of replacing it.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")
    decrypt: bool = arg(True, doc="Decrypt fragments of this machine that are encrypted with vault.")


def run(args: Arguments, ctx: Context) -> Steps:
    try:
        wanted = re.compile(args.regexp or "")
    except re.error as error:
        raise TaskFailed(f"'{args.regexp}' is not a regular expression: {error}") from None
    if args.remote_src:
        source = on_node(ctx, args.src)
        fragments = {
            name: base64.b64decode(text)
            for name, text in ctx.node.call("files", "contents", folder=source).items()
        }
    else:
        source = str(ctx.find("files", args.src))
        fragments = _here(Path(source), decrypt=args.decrypt)
    chosen = [
        fragments[name]
        for name in sorted(fragments)
        if wanted.search(name) and not (args.ignore_hidden and name.startswith("."))
    ]
    content = Content.of(_joined(chosen, args.delimiter))
    path, stat = destination(
        ctx, on_node(ctx, args.dest), os.path.basename(source.rstrip("/")), follow=args.follow
    )
    manner = Manner(backup=args.backup, validate=args.validate)
    values = yield from place(ctx, path, content, args.wanted(), stat=stat, manner=manner)
    values = {**({"src": source} if args.remote_src else {}), "md5sum": content.md5(), **values}
    values.pop("path", None)
    return values


def _here(folder: Path, *, decrypt: bool) -> dict[str, bytes]:
    if not folder.is_dir():
        raise TaskFailed(f"Source ({folder}) is not a directory")
    found = {}
    for path in folder.iterdir():
        if path.is_file():
            data = Content.of(path, decrypt=decrypt).data
            found[path.name] = data if isinstance(data, bytes) else data.read_bytes()
    return found


def _joined(fragments: list[bytes], delimiter: str | None) -> bytes:
    between = b""
    if delimiter:
        between = codecs.escape_decode(delimiter.encode())[0]  # type: ignore[attr-defined]
        between += b"" if between.endswith(b"\n") else b"\n"
    parts: list[bytes] = []
    for number, fragment in enumerate(fragments):
        if number and parts[-1] and not parts[-1].endswith(b"\n"):
            parts.append(b"\n")
        if number:
            parts.append(between)
        parts.append(fragment)
    return b"".join(parts)
