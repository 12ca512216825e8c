"""A directory tree of the controller, put on a node: compared there in one round trip."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from labctl import vault
from labctl.errors import TaskFailed
from labctl.files.attributes import Attributes, octal, properties, stat_of
from labctl.files.content import PLAIN, Content, Manner, place
from labctl.node.api import Stat
from labctl.records import dataclass
from labctl.task_types import Change, Context


@dataclass(frozen=True, slots=True)
class TreeModes:
    """The attributes of a tree's files and folders. `preserve`: modes of files as the source has them."""

    files: Attributes
    folders: Attributes
    preserve: bool = False


def place_tree(
    ctx: Context,
    source: Path,
    root: str,
    *,
    modes: TreeModes,
    follow: bool = True,
    decrypt: bool = True,
    manner: Manner = PLAIN,
) -> Generator[Change, Any, dict[str, Any]]:
    """Lay the tree below `source` over the directory `root`; what else is there stays. `follow`: links of the
    source become what they point to. Returns {"files": their number, "last": the values of the last entry}."""
    local = list(_local(source, follow=follow, decrypt=decrypt))
    entries = [entry for entry, _ in local]
    answers = ctx.node.call("files", "compare", root=root, entries=entries)
    last: dict[str, Any] = {}
    order = {"file": 0, "directory": 1, "link": 2}
    rank = -1
    for (entry, content), answer in zip(local, answers, strict=True):
        path = os.path.join(root, entry["path"]) if entry["path"] else root
        stat = stat_of(answer["stat"]) if answer else None
        if stat is not None and stat.type != entry["type"] and entry["type"] == "directory":
            raise TaskFailed(f"{path} is a {stat.type} on {ctx.host}, and a {entry['type']} in {source}")
        if entry["type"] == "directory":
            values = yield from _folder(ctx, path, modes.folders, stat)
        elif entry["type"] == "link":
            if not (answer and answer["same"]):
                yield _link(ctx, path, entry["target"], stat)
            values = {"dest": path, "src": entry["target"]}
        else:
            assert content is not None
            wanted = (
                dataclasses.replace(modes.files, mode=octal(entry["mode"])) if modes.preserve else modes.files
            )
            known = _with_checksum(stat, entry["checksum"] if answer and answer["same"] else None)
            values = yield from place(ctx, path, content, wanted, stat=known, manner=manner)
        if order[entry["type"]] >= rank and entry["path"]:
            last, rank = values, order[entry["type"]]
    return {"files": sum(entry["type"] == "file" for entry in entries), "last": last}


def _local(source: Path, *, follow: bool, decrypt: bool) -> Iterator[tuple[dict[str, Any], Content | None]]:
    yield {"path": "", "type": "directory"}, None
    yield from _below(str(source), "", follow, decrypt, frozenset({_identity(str(source))}))


def _below(
    folder: str, inside: str, follow: bool, decrypt: bool, parents: frozenset[tuple[int, int]]
) -> Iterator[tuple[dict[str, Any], Content | None]]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise TaskFailed(f"{folder}: {error.strerror}") from None
    for name in names:
        path, place_in_tree = os.path.join(folder, name), os.path.join(inside, name)
        link = os.path.islink(path)
        if link and (not follow or not os.path.exists(path) or _identity(path) in parents):
            yield {"path": place_in_tree, "type": "link", "target": os.readlink(path)}, None
        elif os.path.isdir(path):
            yield {"path": place_in_tree, "type": "directory"}, None
            yield from _below(path, place_in_tree, follow, decrypt, parents | {_identity(path)})
        else:
            yield _file(path, place_in_tree, decrypt)


def _identity(path: str) -> tuple[int, int]:
    info = os.stat(path)
    return info.st_dev, info.st_ino


def _file(path: str, name: str, decrypt: bool) -> tuple[dict[str, Any], Content | None]:
    try:
        sealed = decrypt and vault.is_encrypted_file(Path(path))
        content = Content.of(Path(path), decrypt=sealed)
    except OSError as error:
        raise TaskFailed(f"{path}: {error.strerror}") from None
    entry = {
        "path": name,
        "type": "file",
        "size": content.size,
        "checksum": content.checksum,
        "mode": os.stat(path).st_mode & 0o7777,
    }
    return entry, content if sealed else Content(Path(path), content.checksum, content.size)


def _with_checksum(stat: Stat | None, checksum: str | None) -> Stat | None:
    return None if stat is None else dataclasses.replace(stat, checksum=checksum)


def _folder(
    ctx: Context, path: str, wanted: Attributes, stat: Stat | None
) -> Generator[Change, Any, dict[str, Any]]:
    if stat is None:
        bits = wanted.bits(0o777 & ~0o022, directory=True)
        yield Change(f"directory {path}", lambda: ctx.node.mkdir(path, mode=bits))
        stat = None if ctx.check else ctx.node.stat(path)
    if stat is not None:
        yield from wanted.changes(ctx.node, stat)
        if wanted.wrong(stat) and not ctx.check:
            stat = ctx.node.stat(path)
    return {"path": path, "dest": path, **properties(stat)}


def _link(ctx: Context, path: str, target: str, stat: Stat | None) -> Change:
    old = f"{stat.target}\n" if stat else ""
    return Change(f"link {path}", lambda: ctx.node.link(target, path), before=old, after=f"{target}\n")
