"""Keep one line in a text file of the host, or out of it.

With `regexp` (or `search_string`) the last matching line becomes `line`; when none matches, `line` is put in where
`insertafter` or `insertbefore` says, else at the end. Expressions are searched in the bytes of each line, its
newline included. Returns msg, backup (the path of the kept file), and with state absent found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import FileArgs, Manner, editing
from labctl.task_types import Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(FileArgs):
    path: str = arg(doc="The file on the host.", aliases=("dest", "destfile", "name"))
    line: str | None = arg(None, doc="The line, without its newline.", aliases=("value",))
    regexp: str | None = arg(
        None, doc="A regular expression for the line to replace or remove.", aliases=("regex",)
    )
    search_string: str | None = arg(None, doc="A text in the line to replace or remove.")
    state: str = arg("present", doc="Whether the line shall be there.", choices=("present", "absent"))
    backrefs: bool = arg(
        False, doc="Put groups of `regexp` into `line` (\\1); without a match change nothing."
    )
    insertafter: str | None = arg(None, doc="A regular expression, EOF or BOF.")
    insertbefore: str | None = arg(None, doc="A regular expression, or BOF.")
    firstmatch: bool = arg(False, doc="The first matching line counts, not the last.")
    create: bool = arg(False, doc="Make the file, and its directory, when it is not there.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")

    mutually_exclusive = (
        ("insertafter", "insertbefore"),
        ("regexp", "search_string"),
        ("backrefs", "search_string"),
    )


def run(args: Arguments, ctx: Context) -> Steps:
    _check(args)
    absent = args.state == "absent"
    old = editing.look(ctx, args.path, create=absent or args.create, what="Destination")
    if absent and old.data is None:
        return {"msg": "file not present"}
    lines = re.split(rb"(?<=\n)", old.data or b"")
    lines = lines[:-1] if not lines[-1] else lines
    values: dict[str, Any] = {}
    if absent:
        matches = _matcher(args)
        kept = [line for line in lines if not matches(line)]
        values["found"] = len(lines) - len(kept)
        said = f"{values['found']} line(s) removed" if values["found"] else ""
    else:
        kept, said = _present(args, lines)
    if old.data is None and not said:
        return {"msg": "", "backup": ""}
    manner = Manner(backup=args.backup, validate=args.validate)
    attributes, backup = yield from editing.put(ctx, old, b"".join(kept), args.wanted(), manner)
    return {**values, "msg": editing.message(said, attributes), "backup": backup or ""}


def _check(args: Arguments) -> None:
    if args.state == "present" and args.line is None:
        raise TaskFailed("line is required with state=present")
    if args.state == "absent" and args.line is None and args.regexp is None and args.search_string is None:
        raise TaskFailed("one of line, search_string, or regexp is required with state=absent")
    if args.backrefs and args.regexp is None and args.state == "present":
        raise TaskFailed("regexp is required with backrefs=true")


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogateescape")


def _matcher(args: Arguments) -> Any:
    """What finds the line to replace or remove: a match, or None."""
    pattern = editing.expression(args.regexp)
    if pattern is not None:
        return pattern.search
    if args.search_string is not None:
        text = _bytes(args.search_string)
        return lambda line: True if text in line else None
    wanted = _bytes(args.line)
    return lambda line: True if line.rstrip(b"\r\n") == wanted else None


def _present(args: Arguments, lines: list[bytes]) -> tuple[list[bytes], str]:
    wanted, matches = _bytes(args.line), _matcher(args)
    found = [(number, match) for number, line in enumerate(lines) if (match := matches(line)) is not None]
    if found:
        exact = args.regexp is None and args.search_string is None
        number, match = found[0 if args.firstmatch and not exact else -1]
        return _replaced(lines, number, match.expand(wanted) if args.backrefs else wanted)
    if args.backrefs:
        return lines, ""
    same = [number for number, line in enumerate(lines) if line.rstrip(b"\r\n") == wanted]
    if same:
        return _replaced(lines, same[-1], wanted)
    return _inserted(args, lines, wanted)


def _replaced(lines: list[bytes], number: int, text: bytes) -> tuple[list[bytes], str]:
    text = text if text.endswith(b"\n") else text + b"\n"
    if lines[number] == text:
        return lines, ""
    return [*lines[:number], text, *lines[number + 1 :]], "line replaced"


def _inserted(args: Arguments, lines: list[bytes], text: bytes) -> tuple[list[bytes], str]:
    position = len(lines)
    anchor = args.insertafter if args.insertbefore is None else args.insertbefore
    if anchor == "BOF":
        position = 0
    elif anchor not in (None, "EOF") or args.insertbefore == "EOF":
        pattern = editing.expression(anchor)
        assert pattern is not None
        places = [number for number, line in enumerate(lines) if pattern.search(line)]
        if places:
            position = places[0 if args.firstmatch else -1] + (args.insertbefore is None)
            neighbour = position if args.insertbefore is None and position < len(lines) else None
            if neighbour is not None and lines[neighbour].rstrip(b"\r\n") == text:
                return lines, ""
    before = lines[:position]
    if before and not before[-1].endswith((b"\n", b"\r")):
        before[-1] += b"\n"
    return [*before, text + b"\n", *lines[position:]], "line added"
