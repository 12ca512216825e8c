"""`--start-at-task`: which task it means."""

from __future__ import annotations

from fnmatch import fnmatchcase

from labctl.playbook.tree import Handler, Play, Task, walk


def starts_at(task: Task, wanted: str) -> bool:
    """Whether a task has this name, or one that this pattern matches; "role : name" counts as well."""
    names = (task.title, task.label())
    return not isinstance(task, Handler) and any(
        name == wanted or fnmatchcase(name, wanted) for name in map(str, names)
    )


def may_start(play: Play, wanted: str) -> bool:
    """Whether the task is in this play, or may come with one of its dynamic includes."""
    tasks = (entry for _section, entries in play.sections() for entry in walk(entries))
    return any(isinstance(task, Task) and (task.dynamic or starts_at(task, wanted)) for task in tasks)
