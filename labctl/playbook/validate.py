"""Checking a parsed playbook before any host is touched. Every problem is noted, none stops the search."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from labctl import configuration
from labctl.errors import LabctlError, did_you_mean
from labctl.playbook import strings, vars_files
from labctl.playbook.handlers import handlers_of
from labctl.playbook.kinds import is_template
from labctl.playbook.loader import Loader, find_file, not_found, search_folders
from labctl.playbook.pardon import pardoned, warn_only
from labctl.playbook.roles import import_role
from labctl.playbook.tasks import apply_block, read_file
from labctl.playbook.tree import Block, Entry, Handler, Play, Playbook, Task, walk
from labctl.task_types import TaskType, is_foreign
from labctl.yaml import Text, mark_of

_OF_COLLECTION = re.compile(r"[Nn]o (?:filter|test) named '\w+\.\w+\.[\w.]+'")
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")


def validate(playbook: Playbook, loader: Loader) -> None:
    """Check everything that is known before the run."""
    for play in playbook.plays:
        checker = _Checker(loader)
        roles = play.static_roles()
        entries = [entry for _section, section in play.sections() for entry in section]
        handlers = [*play.own_handlers, *(entry for role in roles for entry in role.handlers)]
        checker.entries([*entries, *handlers])
        vars_files.check(play, loader)
        missing_is_fatal = configuration.current().boolean("error_on_missing_handler") is not False
        if missing_is_fatal and not checker.open_ended:
            _check_notifications([*play.handlers(), *checker.handlers], checker.tasks, loader)
        checker.module_defaults(play)
    _check_syntax(strings.strings(playbook), loader)


def validate_entries(entries: Sequence[Entry], loader: Loader) -> None:
    """Check tasks that were included at run time."""
    _Checker(loader).entries(entries)
    _check_syntax(strings.of_entries(entries), loader)


class _Checker:
    """Checks tasks, and follows dynamic includes whose names are known. `open_ended`: what some include
    will bring cannot be known, so a handler may yet appear."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.tasks: list[Task] = []
        self.handlers: list[Handler] = []
        self.open_ended = False
        self._following: list[tuple[Path, str]] = []

    def entries(self, entries: Iterable[Entry]) -> None:
        for entry in walk([*entries]):
            self.module_defaults(entry)
            if isinstance(entry, Block):
                self.handlers.extend(handlers_of([entry]) if entry.imported_role else [])
                continue
            self.tasks.append(entry)
            if entry.task_type is not None:
                with pardoned(entry, self.loader.problems):
                    _check_arguments(entry, entry.task_type, self.loader)
            elif entry.dynamic:
                self._follow(entry)

    def module_defaults(self, node: Play | Entry) -> None:
        for defaults in node.module_defaults:
            for name in defaults:
                mark = getattr(name, "mark", None)
                if str(name).startswith("group/"):
                    self.loader.problems.warn(f"'{name}' has no effect: only collections have groups", mark)
                elif not is_foreign(str(name)):
                    with self.loader.problems.catch():
                        self.loader.registry.get(str(name), mark)

    def _follow(self, task: Task) -> None:
        name = task.args.get("file" if task.action == "include_tasks" else _role_key(task))
        if not isinstance(name, str) or not name:
            return
        if is_template(name) or any(is_template(value) for value in task.args.values()):
            self.open_ended = self.open_ended or task.action == "include_role" or isinstance(task, Handler)
            return
        parent = apply_block(task, self.loader)
        if task.action == "include_role":
            self._follow_role(task, parent)
            return
        folders = search_folders(task)
        path = find_file(name, folders)
        if path is None:
            mark = task.arg_mark("file")
            with pardoned(task, self.loader.problems):
                self.loader.problems.errors.append(not_found("the task file", name, folders, mark))
            return
        key = (path.resolve(), "")
        if key in self._following:
            return
        self._following.append(key)
        is_handler = isinstance(task, Handler)
        with self.loader.problems.may_never_run():
            task.preview = read_file(path, parent, self.loader, handlers=is_handler)
        self.handlers.extend(entry for entry in walk(task.preview) if isinstance(entry, Handler))
        self.entries(task.preview)
        self._following.pop()

    def _follow_role(self, task: Task, parent: Any) -> None:
        before = len(self.loader.problems.errors)
        with self.loader.problems.may_never_run():
            role = import_role(task.args, parent, self.loader)
        if role is None:
            if is_foreign(task.args[_role_key(task)]):
                warn_only(self.loader.problems, before)
            return
        key = (role.path.resolve(), ",".join(role.parts))
        if key in self._following:
            return
        self._following.append(key)
        task.preview = role.entries()
        for each in role.with_dependencies():
            self.handlers.extend(entry for entry in walk(each.handlers) if isinstance(entry, Handler))
            self.entries(each.handlers)
        self.entries(task.preview)
        self._following.pop()


def _role_key(task: Task) -> str:
    return "name" if "name" in task.args else "role"


def _check_arguments(task: Task, task_type: TaskType, loader: Loader) -> None:
    problems = loader.problems
    known = {name: value for name, value in task.args.items() if name in task_type.aliases}
    if not task_type.arguments.any_name:
        for name in task.args:
            if name not in known:
                with problems.catch():
                    task_type.check_names({name: None}, task.args.key_mark)
    if len(known) == len(task.args) or task_type.arguments.any_name:
        with problems.catch():
            task_type.check_names(task.args, task.args.key_mark)
    for name, value in known.items():
        if not _has_template(value):
            with problems.catch():
                task_type.convert(name, value, task.arg_mark(name))


def _has_template(value: Any) -> bool:
    """Whether a value is only known at run time: a template, or a secret still encrypted."""
    if isinstance(value, Text):
        return value.vault or is_template(value)
    if isinstance(value, dict):
        return any(_has_template(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_template(item) for item in value)
    return False


def _check_notifications(handlers: Sequence[Handler], tasks: Sequence[Task], loader: Loader) -> None:
    names: list[str] = []
    for handler in handlers:
        names += handler.topics()
        names += [handler.name, handler.label()] if handler.name else []
    patterns = [re.compile(_as_pattern(name)) for name in names if _TEMPLATE.search(name)]
    blocks = [node for task in tasks for node in task.lineage() if isinstance(node, Block)]
    for node in dict.fromkeys([*tasks, *blocks]):
        for wanted in node.notify or ():
            known = wanted in names or any(pattern.fullmatch(wanted) for pattern in patterns)
            if known or is_template(wanted):
                continue
            loader.problems.add(
                f"no handler of this play is called '{wanted}' or listens to it",
                mark_of(wanted, node.mark_of("notify")),
                did_you_mean(wanted, names)
                or (f"there are: {', '.join(dict.fromkeys(names))}" if names else None),
            )


def _as_pattern(name: str) -> str:
    return ".*".join(re.escape(piece) for piece in _TEMPLATE.split(name))


def _check_syntax(found: Iterator[tuple[Text, strings.Place]], loader: Loader) -> None:
    for text, place in found:
        if text.unsafe or not (place.expression or "{" in text):
            continue
        with pardoned(place.node, loader.problems), loader.problems.catch(text.mark):
            try:
                loader.templar.check(text, expression=place.expression)
            except LabctlError as error:
                if _OF_COLLECTION.search(error.message) is None:
                    raise
                loader.problems.warn(
                    f"{error.message}: a host that reaches this fails", error.mark or text.mark
                )
        if place.expression and "{{" in text and not place.what.startswith("argument"):
            loader.problems.warn(
                f"'{place.what}' is an expression already: write it without '{{{{ }}}}'", text.mark
            )
