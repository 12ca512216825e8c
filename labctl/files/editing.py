"""Text files that a task edits: read in one round trip, and replaced when the edit changed them."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
from collections.abc import Generator
from typing import Any

from labctl.errors import TaskFailed
from labctl.files.attributes import Attributes, stat_of
from labctl.files.content import Content, Manner, place
from labctl.files.paths import on_node
from labctl.node.api import Stat
from labctl.records import dataclass
from labctl.task_types import Change, Context


@dataclass(frozen=True, slots=True)
class Edited:
    """A file as it is: its path, its `stat` and content; both None where there is none."""

    path: str
    stat: Stat | None
    data: bytes | None


def look(ctx: Context, path: str, *, create: bool, what: str = "Path") -> Edited:
    """Read the file (of a link: its target). TaskFailed when it is missing and not to be made, or is none."""
    path = on_node(ctx, path)
    found = ctx.node.call("files", "look", path=path, content=True)
    stat = stat_of(found["stat"])
    if stat is None:
        if not create:
            raise TaskFailed(f"{what} {path} does not exist !", rc=257)
        return Edited(path, None, None)
    if stat.type == "directory":
        raise TaskFailed(f"Path {path} is a directory !", rc=256)
    return Edited(path, stat, base64.b64decode(found["content"] or ""))


def put(
    ctx: Context, old: Edited, new: bytes, wanted: Attributes, manner: Manner
) -> Generator[Change, Any, tuple[bool, str | None]]:
    """Give the file this content and these attributes: whether attributes alone changed too, and the backup's
    path. `manner.force` is of no account."""
    stat = old.stat
    if stat is None or old.data is None:
        folder = os.path.dirname(old.path)
        if folder and ctx.node.stat(folder, follow=True) is None:
            yield Change(f"directory {folder}", lambda: ctx.node.mkdir(folder))
        done = yield from place(ctx, old.path, Content.of(new), wanted, stat=None, manner=manner)
        return False, done.get("backup_file")
    content = Content.of(new)
    known = dataclasses.replace(stat, checksum=Content.of(old.data).checksum)
    attributes = bool(wanted.wrong(stat))
    done = yield from place(ctx, old.path, content, wanted, stat=known, manner=manner)
    return attributes, done.get("backup_file")


def message(text: str, attributes: bool) -> str:
    """What a task says it did, as Ansible words it."""
    also = "ownership, perms or SE linux context changed"
    return " and ".join(part for part in (text, also if attributes else "") if part)


def expression(pattern: str | None, flags: int = 0) -> re.Pattern[bytes] | None:
    """A regular expression over bytes, as Ansible's editing tasks read it. TaskFailed when it is none."""
    if pattern is None:
        return None
    try:
        return re.compile(pattern.encode("utf-8", "surrogateescape"), flags)
    except re.error as error:
        raise TaskFailed(f"'{pattern}' is not a regular expression: {error}") from None
