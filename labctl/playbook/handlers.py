"""Handlers: whom a notification wakes, and those that imported roles bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from labctl.playbook.tree import Block, Entry, Handler, handlers_in, walk


def select_handlers(
    handlers: Sequence[Handler], notification: str, render: Callable[[str], str] = str
) -> list[Handler]:
    """Whom a notification wakes: the handler of that name, and every handler listening to it; of several
    with one name the first of the list that was read last. `render` renders handlers' names."""
    lists = [list(group) for _, group in groupby(handlers, key=lambda handler: id(handler.role))]
    handlers = [handler for group in reversed(lists) for handler in group]
    named = [h for h in handlers if h.name and h.answers_to(notification, render(h.name))]
    listening: dict[object, Handler] = {}
    for handler in handlers:
        if notification in handler.topics():
            listening.setdefault(render(handler.name) if handler.name else handler, handler)
    return list(dict.fromkeys([*named[:1], *listening.values()]))


def handlers_of(entries: Sequence[Entry]) -> list[Handler]:
    """The handlers of the roles that are imported among these entries."""
    imported = [e.imported_role for e in walk(entries) if isinstance(e, Block) and e.imported_role]
    roles = [each for role in imported for each in role.with_dependencies()]
    return [handler for role in roles for handler in handlers_in(role.handlers)]
