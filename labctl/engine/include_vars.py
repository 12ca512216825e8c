"""`include_vars`: variables read from a file or a folder during the run."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from labctl import configuration
from labctl.errors import PlaybookError, did_you_mean
from labctl.playbook.tree import Task
from labctl.task_types import to_bool
from labctl.variables import Scope, load_vars_file

_ENDINGS = ("yaml", "yml", "json")


def read(task: Task, scope: Scope) -> tuple[dict[str, Any], list[str]]:
    """The variables an `include_vars` task names, under its `name` when it has one, and the files they are
    from. PlaybookError."""
    given = {key: scope.render(value, task.arg_mark(key)) for key, value in task.args.items()}
    if folder := given.get("dir"):
        paths = list(_files(_folder(str(folder), task), given))
    else:
        paths = [_file(str(given.get("file") or ""), task)]
    behaviour = given.get("hash_behaviour") or configuration.current().text("hash_behaviour") or "replace"
    merge = behaviour == "merge"
    merged: dict[str, Any] = {}
    for path in paths:
        merged = _merged(merged, load_vars_file(path)) if merge else merged | load_vars_file(path)
    if given.get("name"):
        merged = {str(given["name"]): merged}
    if merge:
        known = {name: scope[name] for name in merged if name in scope}
        merged = {name: _merged(known, merged)[name] for name in merged}
    return merged, [str(path.resolve()) for path in paths]


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged to any depth; whatever else `above` has replaces what is below."""
    found = dict(below)
    for name, value in above.items():
        old = found.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        found[name] = _merged(old, value) if both and old is not None else value
    return found


def _bases(task: Task) -> list[Path]:
    roles = [role.path for role in reversed(task.roles_around)]
    beside = Path(task.mark.file).parent
    places = [place for base in (*roles, beside) for place in (base / "vars", base)]
    return [*places, task.play.dir / "vars", task.play.dir]


def _file(name: str, task: Task) -> Path:
    bases = _bases(task)
    for base in bases:
        if (path := base / Path(name).expanduser()).is_file():
            return path
    code = {Path(task.mark.file).name, task.play.path.name}
    names = [e.name for base in bases if base.is_dir() for e in base.iterdir() if e.name not in code]
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
