"""Tags that are templates: rendered once, before the run, from what is known then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from labctl.errors import LabctlError
from labctl.playbook import vars_files
from labctl.playbook.kinds import is_template
from labctl.playbook.loader import Loader
from labctl.playbook.tree import Entry, Keywords, Play, Playbook, walk
from labctl.variables import load_vars_file


def render_tags(playbook: Playbook, loader: Loader) -> None:
    """Replace every templated tag by its value; what cannot be known before the run is a problem, noted."""
    for play in playbook.plays:
        files = _vars_files(play)
        for _section, entries in play.sections():
            for node in _templated(entries):
                _render(node, loader, files)


def render_tags_of(entries: Sequence[Entry], loader: Loader) -> None:
    """As `render_tags`, for what a dynamic include loads."""
    for node in _templated(entries):
        _render(node, loader, {})


def _templated(entries: Sequence[Entry]) -> Iterator[Keywords]:
    seen: set[int] = set()
    for entry in walk(entries):
        for node in entry.ancestors():
            if id(node) in seen:
                break
            seen.add(id(node))
            if any(is_template(tag) for tag in node.tags):
                yield node


def _render(node: Keywords, loader: Loader, files: Mapping[str, Any]) -> None:
    from labctl.variables.scope import Scope

    scope = Scope(loader.templar, [files, *loader.static_layers(node)])
    found: list[Any] = []
    try:
        for tag in node.tags:
            value = scope.render(tag, node.mark_of("tags"))
            found += value if isinstance(value, list) else [value]
    except LabctlError as error:
        message = f"'tags' must be known before the run: {error.message}"
        loader.problems.add(message, error.mark or node.mark_of("tags"), error.hint)
        return
    node.tags = [str(tag) for tag in found]


def _vars_files(play: Play) -> dict[str, Any]:
    """The variables of those files that are named outright."""
    merged: dict[str, Any] = {}
    for path in vars_files.files(play):
        with suppress(LabctlError):  # it is said elsewhere
            merged |= load_vars_file(path)
    return merged
