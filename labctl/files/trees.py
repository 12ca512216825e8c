"""A directory tree of the controller, put on a node: compared there in one round trip."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from labctl.errors import TaskFailed
from labctl.files.attributes import Attributes, octal, stat_of
from labctl.files.content import Content, place
from labctl.node.api import Stat
from labctl.task_types import Change, Context


def place_tree(
    ctx: Context,
    source: Path,
    root: str,
    *,
    files: Attributes,
    folders: Attributes,
    preserve: bool = False,
    backup: bool = False,
    force: bool = True,
) -> Generator[Change, Any, None]:
    """Lay the tree below `source` over the directory `root`; what else is there stays. `preserve`: modes as
    the source has them."""
    local = list(_local(source))
    entries = [entry for entry, _ in local]
    answers = ctx.node.call("files", "compare", root=root, entries=entries)
    for (entry, content), answer in zip(local, answers, strict=True):
        path = os.path.join(root, entry["path"]) if entry["path"] else root
        stat = stat_of(answer["stat"]) if answer else None
        if stat is not None and stat.type != entry["type"]:
            raise TaskFailed(f"{path} is a {stat.type} on {ctx.host}, and a {entry['type']} in {source}")
        if entry["type"] == "directory":
            mode = Attributes(octal(entry["mode"]), folders.owner, folders.group) if preserve else folders
            yield from _folder(ctx, path, mode, stat)
        elif entry["type"] == "link":
            if not (answer and answer["same"]):
                yield _link(ctx, path, entry["target"], stat)
        else:
            assert content is not None
            mode = Attributes(octal(entry["mode"]), files.owner, files.group) if preserve else files
            known = _with_checksum(stat, entry["checksum"] if answer and answer["same"] else None)
            yield from place(ctx, path, content, mode, stat=known, backup=backup, force=force)


def _local(source: Path) -> Iterator[tuple[dict[str, Any], Content | None]]:
    for folder, folders, names in os.walk(source):
        place_in_tree = os.path.relpath(folder, source)
        inside = "" if place_in_tree == "." else place_in_tree
        yield {"path": inside, "type": "directory", "mode": os.stat(folder).st_mode & 0o7777}, None
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders.sort()
        for name in sorted(names + links):
            yield _entry(os.path.join(folder, name), os.path.join(inside, name))


def _entry(path: str, name: str) -> tuple[dict[str, Any], Content | None]:
    if os.path.islink(path):
        return {"path": name, "type": "link", "target": os.readlink(path)}, None
    content = Content.of(Path(path))
    entry = {
        "path": name,
        "type": "file",
        "size": content.size,
        "checksum": content.checksum,
        "mode": os.stat(path).st_mode & 0o7777,
    }
    return entry, Content(Path(path), content.checksum, content.size)


def _with_checksum(stat: Stat | None, checksum: str | None) -> Stat | None:
    if stat is None:
        return None
    return Stat(**{**{name: getattr(stat, name) for name in Stat.__slots__}, "checksum": checksum})


def _folder(ctx: Context, path: str, wanted: Attributes, stat: Stat | None) -> Generator[Change, Any, None]:
    if stat is None:
        bits = wanted.bits(0o777 & ~0o022, directory=True)
        yield Change(f"directory {path}", lambda: ctx.node.mkdir(path, mode=bits))
        stat = None if ctx.check else ctx.node.stat(path)
    if stat is not None:
        yield from wanted.changes(ctx.node, stat)


def _link(ctx: Context, path: str, target: str, stat: Stat | None) -> Change:
    old = f"{stat.target}\n" if stat else ""
    return Change(f"link {path}", lambda: ctx.node.link(target, path), before=old, after=f"{target}\n")
