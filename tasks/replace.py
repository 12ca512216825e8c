"""Replace everything a regular expression matches in a text file of the host.

`after` and `before` are expressions too; only what stands between them is searched. `^` and `$` match at every
line. Returns msg, rc (0), backup_file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labctl.errors import TaskFailed
from labctl.files import FileArgs, Manner, editing
from labctl.task_types import Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(FileArgs):
    path: str = arg(doc="The file on the host.", aliases=("dest", "destfile", "name"))
    regexp: str = arg(doc="What to replace, a regular expression.")
    replace: str = arg("", doc="What to put in its place; \\1 or \\g<name> are its groups.")
    after: str | None = arg(None, doc="Only what stands behind a match of this.")
    before: str | None = arg(None, doc="Only what stands before a match of this.")
    backup: bool = arg(False, doc="Keep the old file beside the new one.")
    validate: str | None = arg(None, doc="A command that must accept the new file, as %s, before it is used.")
    encoding: str = arg("utf-8", doc="The file's character encoding.")


def run(args: Arguments, ctx: Context) -> Steps:
    old = editing.look(ctx, args.path, create=False)
    assert old.data is not None
    try:
        text = old.data.decode(args.encoding, "surrogateescape")
    except LookupError:
        raise TaskFailed(f"'{args.encoding}' is not a character encoding") from None
    section = _section(args, text)
    if section is None:
        return {"rc": 0, "msg": "Pattern for before/after params did not match the given file"}
    start, end = section
    try:
        new, count = re.subn(args.regexp, args.replace, text[start:end], flags=re.MULTILINE)
    except (re.error, IndexError) as error:
        raise TaskFailed(f"Unable to process replace due to error: {error}") from None
    changed = count > 0 and new != text[start:end]
    data = (text[:start] + new + text[end:]).encode(args.encoding, "surrogateescape") if changed else old.data
    manner = Manner(backup=args.backup, validate=args.validate)
    attributes, backup = yield from editing.put(ctx, old, data, args.wanted(), manner)
    said = editing.message(f"{count} replacements made" if changed else "", attributes)
    return {"rc": 0, "msg": said, **({"backup_file": backup} if backup else {})}


def _section(args: Arguments, text: str) -> tuple[int, int] | None:
    if not args.after and not args.before:
        return 0, len(text)
    inner = r"(?P<subsection>.*?)" if args.after and args.before else r"(?P<subsection>.*)"
    try:
        found = re.search(f"{args.after or ''}{inner}{args.before or ''}", text, re.DOTALL)
    except re.error as error:
        raise TaskFailed(f"'after' or 'before' is not a regular expression: {error}") from None
    return None if found is None else found.span("subsection")
