"""`include_vars`: variables read from a file or a folder during the run."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labctl.errors import PlaybookError, did_you_mean
from labctl.playbook.tree import Task
from labctl.task_types import to_bool
from labctl.variables import Scope, load_vars_file

_ENDINGS = ("yaml", "yml", "json")


def read(task: Task, scope: Scope) -> dict[str, Any]:
    """The variables an `include_vars` task names, under its `name` when it has one. PlaybookError."""
    given = {key: scope.render(value, task.arg_mark(key)) for key, value in task.args.items()}
    merged: dict[str, Any] = {}
    if folder := given.get("dir"):
        for path in _files(_folder(str(folder), task), given):
            merged |= load_vars_file(path)
    else:
        merged |= load_vars_file(_file(str(given.get("file") or ""), task))
    return {str(given["name"]): merged} if given.get("name") else merged


def _bases(task: Task) -> list[Path]:
    roles = [role.path for role in reversed(task.roles_around())]
    beside = Path(task.mark.file).parent
    places = [place for base in (*roles, beside) for place in (base / "vars", base)]
    return [*places, task.play.dir / "vars", task.play.dir]


def _file(name: str, task: Task) -> Path:
    bases = _bases(task)
    for base in bases:
        if (path := base / Path(name).expanduser()).is_file():
            return path
    names = [entry.name for base in bases if base.is_dir() for entry in base.iterdir()]
    raise PlaybookError(
        f"include_vars: there is no file '{name}'",
        mark=task.arg_mark("file"),
        hint=did_you_mean(Path(name).name, names) or f"looked in: {', '.join(map(str, bases))}",
    )


def _folder(name: str, task: Task) -> Path:
    for base in _bases(task):
        if (path := base / Path(name).expanduser()).is_dir():
            return path
    raise PlaybookError(f"include_vars: there is no folder '{name}'", mark=task.arg_mark("dir"))


def _files(folder: Path, given: dict[str, Any]) -> Iterator[Path]:
    depth = int(given.get("depth") or 0)
    endings = given.get("extensions") or _ENDINGS
    ignored = given.get("ignore_files") or ()
    ignored = [ignored] if isinstance(ignored, str) else ignored
    lenient = to_bool(given.get("ignore_unknown_extensions") or False)
    pattern = re.compile(str(given.get("files_matching") or ""))
    for path in sorted(folder.rglob("*")):
        level = len(path.relative_to(folder).parts)
        if not path.is_file() or (depth and level > depth) or not pattern.search(path.name):
            continue
        if any(fnmatch.fnmatch(path.name, str(name)) for name in ignored):
            continue
        if path.suffix.removeprefix(".") in endings:
            yield path
        elif not lenient and not given.get("files_matching"):
            raise PlaybookError(f"include_vars: {path} has none of the endings {', '.join(endings)}")
