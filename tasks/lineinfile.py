"""See to it that one line is, or is not, in a text file of the host.

With `regexp` (or `search_string`) the last matching line becomes `line`; when none matches, `line` is put in where
`insertafter` or `insertbefore` says, else at the end. Returns msg, found, mode, owner, group, size, backup_file.
"""

import base64
import dataclasses
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.files import Attributes, place
from labctl.files.attributes import stat_of
from labctl.files.content import Content
from labctl.task_types import Args, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
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
    insertafter: str | None = arg(None, doc="A regular expression, or EOF.")
    insertbefore: str | None = arg(None, doc="A regular expression, or BOF.")
    firstmatch: bool = arg(False, doc="The first matching line counts, not the last.")
    create: bool = arg(False, doc="Make the file when it is not there.")
    mode: int | str | None = arg(None, doc="'0644' or 'u=rw,g=r,o='.")
    owner: str | None = arg(None, doc="User the file belongs to.")
    group: str | None = arg(None, doc="Group the file belongs to.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")

    mutually_exclusive = (
        ("insertafter", "insertbefore"),
        ("regexp", "search_string"),
        ("backrefs", "search_string"),
    )


def run(args: Arguments, ctx: Context) -> Steps:
    _check(args)
    found = ctx.node.call("files", "look", path=args.path, content=True)
    stat = stat_of(found["stat"])
    if stat is None:
        if args.state == "absent":
            return {"msg": "file not present", "found": 0}
        if not args.create:
            raise TaskFailed(f"there is no {args.path} on {ctx.host}", hint="create: true makes it")
    elif stat.type != "file":
        raise TaskFailed(f"{args.path} is a {stat.type} on {ctx.host}")
    old = base64.b64decode(found["content"] or "")
    lines = old.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    if args.state == "absent":
        kept = [line for line in lines if not _matches(args, line)]
        values: dict[str, Any] = {"found": len(lines) - len(kept)}
        message = f"{values['found']} line(s) removed" if values["found"] else ""
    else:
        kept, message = _present(args, lines)
        values = {}
    new = "".join(kept).encode("utf-8", "surrogateescape")
    if stat is not None:
        stat = dataclasses.replace(stat, checksum=hashlib.sha256(old).hexdigest())
    wanted = Attributes.of(args.mode, args.owner, args.group)
    done = yield from place(
        ctx, args.path, Content.of(new), wanted, stat=stat, backup=args.backup, validate=args.validate
    )
    return {**done, **values, "msg": message, "path": args.path}


def _check(args: Arguments) -> None:
    if args.state == "present" and args.line is None:
        raise TaskFailed("state: present needs 'line'")
    if args.state == "absent" and args.line is None and args.regexp is None and args.search_string is None:
        raise TaskFailed("state: absent needs 'line', 'regexp' or 'search_string'")
    if args.backrefs and args.regexp is None:
        raise TaskFailed("'backrefs' needs 'regexp'")
    for expression in (args.regexp, args.insertafter, args.insertbefore):
        try:
            re.compile(expression or "")
        except re.error as error:
            raise TaskFailed(f"'{expression}' is not a regular expression: {error}") from None


def _bare(line: str) -> str:
    return line.rstrip("\r\n")


def _matches(args: Arguments, line: str) -> bool:
    if args.regexp is not None:
        return re.search(args.regexp, _bare(line)) is not None
    if args.search_string is not None:
        return args.search_string in _bare(line)
    return _bare(line) == args.line


def _present(args: Arguments, lines: list[str]) -> tuple[list[str], str]:
    wanted = args.line or ""
    selected = [number for number, line in enumerate(lines) if _matches(args, line)]
    if selected:
        number = selected[0 if args.firstmatch else -1]
        text = wanted
        if args.backrefs and (match := re.search(args.regexp or "", _bare(lines[number]))):
            text = match.expand(wanted)
        return _replaced(lines, number, text)
    if args.backrefs:
        return lines, ""
    same = [number for number, line in enumerate(lines) if _bare(line) == wanted]
    if same:
        return lines, ""
    return _inserted(args, lines, wanted)


def _replaced(lines: list[str], number: int, text: str) -> tuple[list[str], str]:
    if _bare(lines[number]) == text:
        return lines, ""
    ending = lines[number][len(_bare(lines[number])) :] or "\n"
    return [*lines[:number], text + ending, *lines[number + 1 :]], "line replaced"


def _inserted(args: Arguments, lines: list[str], text: str) -> tuple[list[str], str]:
    position = len(lines)
    if args.insertbefore == "BOF" or args.insertafter == "BOF":
        position = 0
    elif (anchor := args.insertbefore or args.insertafter) not in (None, "EOF"):
        places = [number for number, line in enumerate(lines) if re.search(anchor or "", _bare(line))]
        if places:
            position = places[0 if args.firstmatch else -1] + (args.insertafter is not None)
    before = lines[:position]
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    return [*before, text + "\n", *lines[position:]], "line added"
