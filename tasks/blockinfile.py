"""Keep a block of lines between two marker lines in a text file of the host, or out of it.

A block that is there is replaced where it stands; a new one is put in where `insertafter` or `insertbefore` says,
else at the end. An empty block removes it. Returns msg, backup_file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labctl.files import FileArgs, Manner, editing
from labctl.task_types import Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(FileArgs):
    path: str = arg(doc="The file on the host.", aliases=("dest", "destfile", "name"))
    block: str = arg("", doc="The lines, without the markers.", aliases=("content",))
    state: str = arg("present", doc="Whether the block shall be there.", choices=("present", "absent"))
    marker: str = arg(
        "# {mark} ANSIBLE MANAGED BLOCK", doc="The marker lines; {mark} is what distinguishes the two."
    )
    marker_begin: str = arg("BEGIN", doc="{mark} of the first line.")
    marker_end: str = arg("END", doc="{mark} of the last line.")
    insertafter: str | None = arg(None, doc="Put a new block behind the last line that matches, or EOF.")
    insertbefore: str | None = arg(None, doc="Put a new block before the last line that matches, or BOF.")
    create: bool = arg(False, doc="Make the file, and its directory, when it is not there.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")
    append_newline: bool = arg(False, doc="An empty line between the block and what follows.")
    prepend_newline: bool = arg(False, doc="An empty line between the block and what precedes.")

    mutually_exclusive = (("insertafter", "insertbefore"),)


def run(args: Arguments, ctx: Context) -> Steps:
    old = editing.look(ctx, args.path, create=args.create)
    if old.data is None and args.state == "absent":
        return {"msg": f"File {args.path} not present"}
    new = _edited(args, old.data or b"")
    if old.data is None:
        said = "File created"
    elif new == old.data:
        said = ""
    else:
        said = "Block inserted" if args.state == "present" and args.block else "Block removed"
    manner = Manner(backup=args.backup, validate=args.validate)
    attributes, backup = yield from editing.put(ctx, old, new, args.wanted(), manner)
    values = {"msg": editing.message(said, attributes)}
    return {**values, "backup_file": backup} if backup else values


def _edited(args: Arguments, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    first, last = (
        args.marker.replace("{mark}", mark).encode() + b"\n" for mark in (args.marker_begin, args.marker_end)
    )
    present = args.state == "present"
    block: list[bytes] = []
    if present and args.block:
        text = args.block if args.block.endswith("\n") else args.block + "\n"
        block = [first, *text.encode("utf-8", "surrogateescape").splitlines(keepends=True), last]
    starts = [number for number, line in enumerate(lines) if line == first]
    ends = [number for number, line in enumerate(lines) if line == last]
    if starts and ends:
        position, end = sorted((starts[-1], ends[-1]))
        del lines[position : end + 1]
    else:
        position = _position(args, data, lines)
    if position > 0 and not lines[position - 1].endswith(b"\n"):
        lines[position - 1] += b"\n"
    if args.prepend_newline and present and position and lines[position - 1] != b"\n":
        lines.insert(position, b"\n")
        position += 1
    lines[position:position] = block
    after = position + len(block)
    if args.append_newline and present and after < len(lines) and lines[after] != b"\n":
        lines.insert(after, b"\n")
    return b"".join(lines)


def _position(args: Arguments, data: bytes, lines: list[bytes]) -> int:
    """Before which line a new block goes."""
    if args.insertbefore == "BOF":
        return 0
    anchor = args.insertafter if args.insertbefore is None else args.insertbefore
    if anchor is None or (args.insertbefore is None and anchor == "EOF"):
        return len(lines)
    pattern = editing.expression(anchor)
    assert pattern is not None
    behind = args.insertbefore is None
    if pattern.flags & re.MULTILINE:
        match = pattern.search(data)
        if match is None:
            return len(lines)
        return data.count(b"\n", 0, match.end() if behind else match.start()) + behind
    places = [number for number, line in enumerate(lines) if pattern.search(line)]
    return places[-1] + behind if places else len(lines)
