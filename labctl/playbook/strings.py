"""Every string of a playbook that can be a template or is an expression, with where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from labctl.playbook.tree import (
    Block,
    Entry,
    Keywords,
    Play,
    Playbook,
    PlaybookImport,
    Repeatable,
    Role,
    Task,
)
from labctl.records import dataclass
from labctl.yaml import Text

_TEMPLATES = (
    "name",
    "vars",
    "tags",
    "become",
    "become_user",
    "become_method",
    "connection",
    "port",
    "remote_user",
    "environment",
    "no_log",
    "ignore_errors",
    "ignore_unreachable",
    "check_mode",
    "diff",
    "any_errors_fatal",
    "run_once",
    "throttle",
    "timeout",
    "delegate_to",
    "delegate_facts",
    "notify",
)
_OF_PLAYS = ("hosts", "vars_files", "gather_facts", "gather_subset", "gather_timeout", "fact_path")
_OF_PLAYS_TOO = ("serial", "strategy", "order", "max_fail_percentage", "force_handlers")
_OF_REPEATABLE = ("loop", "retries", "delay")
_OF_LOOP_CONTROL = ("label", "pause", "extended", "extended_allitems")


@dataclass(frozen=True)
class Place:
    """Where a string stands: the node it belongs to and what it is there ("when", "argument 'msg'").
    `expression`: it is a bare Jinja2 expression, not a template."""

    node: Keywords
    what: str
    expression: bool = False


def strings(playbook: Playbook) -> Iterator[tuple[Text, Place]]:
    """Every template and expression of a playbook, roles and files included under known names too."""
    seen: set[int] = set()
    for play in playbook.plays:
        for node in play.ancestors():
            if isinstance(node, PlaybookImport) and id(node) not in seen:
                seen.add(id(node))
                yield from of_node(node)
        yield from of_node(play)
        for role in dict.fromkeys([*play.role_runs(), *play.static_roles()]):
            yield from of_node(role)
        roles = play.static_roles()
        entries = [entry for _section, section in play.sections() for entry in section]
        handlers = [*play.own_handlers, *(entry for role in roles for entry in role.handlers)]
        yield from of_entries([*entries, *handlers])


def of_entries(entries: Iterable[Entry]) -> Iterator[tuple[Text, Place]]:
    """The strings of tasks and blocks and of everything below them."""
    for entry in entries:
        yield from of_node(entry)
        if isinstance(entry, Block):
            yield from of_entries([*entry.block, *entry.rescue, *entry.always])
        else:
            yield from of_entries(entry.preview)


def of_node(node: Keywords) -> Iterator[tuple[Text, Place]]:
    """The strings a node gives itself."""
    yield from _of_keywords(node, _TEMPLATES)
    yield from _texts(node.when, Place(node, "when", expression=True))
    if isinstance(node, Play):
        yield from _of_keywords(node, (*_OF_PLAYS, *_OF_PLAYS_TOO))
    if isinstance(node, Role):
        yield from _of_keywords(node, ("params", "defaults", "variables"))
    if isinstance(node, Repeatable):
        yield from _of_repeatable(node)
    if isinstance(node, Task):
        yield from _of_task(node)


def _of_keywords(node: Keywords, names: Iterable[str]) -> Iterator[tuple[Text, Place]]:
    for name in names:
        if (value := getattr(node, name)) is not None:
            yield from _texts(value, Place(node, name))


def _of_repeatable(node: Repeatable) -> Iterator[tuple[Text, Place]]:
    yield from _of_keywords(node, _OF_REPEATABLE)
    yield from _texts(node.until, Place(node, "until", expression=True))
    if node.loop_control is not None:
        for name in _OF_LOOP_CONTROL:
            yield from _texts(getattr(node.loop_control, name), Place(node, name))
        yield from _texts(node.loop_control.break_when, Place(node, "break_when", expression=True))


def _of_task(task: Task) -> Iterator[tuple[Text, Place]]:
    for name in ("changed_when", "failed_when"):
        yield from _texts(getattr(task, name), Place(task, name, expression=True))
    for name in ("async_", "poll", "listen"):
        yield from _texts(getattr(task, name), Place(task, name.rstrip("_")))
    for name, value in task.args.items():
        raw = False
        if task.task_type is not None and (canonical := task.task_type.aliases.get(name)):
            raw = task.task_type.parameters[canonical].raw
        yield from _texts(value, Place(task, f"argument '{name}'", expression=raw))


def _texts(value: Any, place: Place) -> Iterator[tuple[Text, Place]]:
    if isinstance(value, Text):
        yield value, place
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item, place)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, place)
