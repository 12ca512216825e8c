"""Files of the controller that tasks put on hosts, and that are not there when the playbook is read.

Said as a warning: an earlier task may make them, and some hosts may never need them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from labctl.errors import Mark
from labctl.playbook.kinds import is_template
from labctl.playbook.loader import nearest_file
from labctl.playbook.tree import Entry, Play, Playbook, Task, walk

_FOLDERS = {"copy": "files", "unarchive": "files", "script": "files", "template": "templates"}


def missing(playbook: Playbook) -> Iterator[tuple[str, Mark | None]]:
    """What to say of each, and where it is named."""
    for play in playbook.plays:
        entries = [entry for _section, section in play.sections() for entry in section]
        for task in _tasks([*entries, *play.handlers()]):
            if (said := _missing(task, play)) is not None:
                yield said


def _tasks(entries: Iterable[Entry]) -> Iterator[Task]:
    for entry in walk([*entries]):
        if isinstance(entry, Task):
            yield entry
            yield from _tasks(entry.preview or ())


def _missing(task: Task, play: Play) -> tuple[str, Mark | None] | None:
    folder = _FOLDERS.get(task.action)
    if (
        folder is None
        or task.task_type is None
        or "remote_src" in task.args
        or task.args.get("copy") is False
    ):
        return None
    name, mark = _named(task)
    if name is None or is_template(name) or "://" in name:
        return None
    given = Path(name).expanduser()
    bases = [role.path for role in reversed(task.roles_around)]
    bases += [Path(task.mark.file).parent, play.dir]
    folders = [Path()] if given.is_absolute() else [at for base in bases for at in (base / folder, base)]
    folders = list(dict.fromkeys(folders))
    if any((at / given).exists() for at in folders):
        return None
    near = next((hint for at in folders if (hint := nearest_file((at / given).parent, given.name))), None)
    places = "" if given.is_absolute() else f"looked in: {', '.join(map(str, folders))}"
    hint = near or places
    return f"'{name}' is not there yet" + (f"; {hint}" if hint else ""), mark


def _named(task: Task) -> tuple[str | None, Mark | None]:
    if task.action != "script":
        value = task.args.get("src")
        return (value, task.arg_mark("src")) if isinstance(value, str) and value else (None, None)
    free = task.task_type.free_form if task.task_type else None
    for key in (free, "cmd"):
        line = task.args.get(key) if key else None
        if isinstance(line, str) and not is_template(line):
            try:
                words = shlex.split(line)
            except ValueError:
                continue
            if words:
                return words[0], task.arg_mark(str(key))
    return None, None
