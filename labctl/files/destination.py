"""Where a file goes: `dest` may be the file itself, a link to it, or the directory to put it in."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from labctl.errors import TaskFailed
from labctl.files.attributes import Attributes, mode_text
from labctl.node.api import Stat
from labctl.node.functions.files import resolve_mode
from labctl.task_types import Change, Context


def destination(ctx: Context, dest: str, name: str | None, *, follow: bool) -> tuple[str, Stat | None]:
    """The path of a file called `name` that is to be put at `dest`, and what is there (with checksum). With
    `follow` a link there stands for its target. `name` None: `dest` must not be a directory."""
    if dest.endswith("/") and name is not None:
        return _at(ctx, dest + name, follow=follow)
    path, stat = _at(ctx, dest, follow=follow)
    if stat is None or (stat.type == "link" and _leads_to(ctx, dest) != "directory"):
        return path, stat
    if stat.type in ("directory", "link"):
        if name is None:
            raise TaskFailed(f"{dest} is a directory on {ctx.host}: can not use content with a dir as dest")
        return _at(ctx, f"{dest.rstrip('/')}/{name}", follow=follow)
    return path, stat


def _leads_to(ctx: Context, path: str) -> str | None:
    stat = ctx.node.stat(path, follow=True)
    return None if stat is None else stat.type


def _at(ctx: Context, path: str, *, follow: bool) -> tuple[str, Stat | None]:
    stat = ctx.node.stat(path, checksum=True)
    if follow and stat is not None and stat.type == "link":
        path = ctx.node.call("files", "real", path=path)
        stat = ctx.node.stat(path, checksum=True)
    return path, stat


def make_folder(
    ctx: Context, folder: str, mode: int | str | None, wanted: Attributes
) -> Generator[Change, Any, None]:
    """Make the directory (and its parents) a file goes to, if it is not there, with the file's owner."""
    if ctx.node.stat(folder, follow=True) is not None:
        return
    bits = None if mode is None else resolve_mode(mode_text(mode), 0o755, True)
    yield Change(
        f"directory {folder}",
        lambda: ctx.node.call(
            "files", "make_folders", path=folder, mode=bits, owner=wanted.owner, group=wanted.group
        ),
    )
