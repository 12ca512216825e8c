"""What a playbook says that means something else when its hosts are divided over several runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from labctl.errors import Mark
from labctl.inventory.model import LOCALHOST
from labctl.inventory.patterns import split
from labctl.playbook.tree import Entry, Keywords, Play, Playbook, Task, walk

_KEYWORDS = {
    "run_once": "the task is done once in each shard, not once in all",
    "any_errors_fatal": "a failure ends the play in its own shard alone",
    "max_fail_percentage": "it is a share of the hosts of each shard",
    "serial": "batches are made in each shard, which work at the same time",
    "throttle": "it holds in each shard, which work at the same time",
}
_ADDING = "what it adds belongs to each shard in which it runs, and not to the others"


def doubts(books: Sequence[Playbook], of: int) -> list[tuple[str, Mark]]:
    """A warning for each such thing, with the first place where it stands."""
    found: dict[str, list[Mark]] = {}
    plays = [play for book in books for play in book.plays]
    for play in plays:
        for node in _nodes(play):
            for said, mark in _of(node, local=_is_local(play)):
                found.setdefault(said, []).append(mark)
    if any(not _is_local(play) for play in plays):
        said = f"--shard: localhost is of shard 1/{of}: what this play makes there is missing in the others"
        found[said] = [play.mark_of("hosts") for play in plays if _is_local(play)]
    return [(said + _more(len(marks)), marks[0]) for said, marks in found.items() if marks]


def _more(count: int) -> str:
    return f" ({count} such places)" if count > 1 else ""


def _is_local(play: Play) -> bool:
    patterns = play.hosts if isinstance(play.hosts, list) else split(str(play.hosts))
    return all(str(pattern) in LOCALHOST for pattern in patterns)


def _of(node: Keywords, *, local: bool) -> Iterator[tuple[str, Mark]]:
    if local:
        return
    for keyword, said in _KEYWORDS.items():
        value = getattr(node, keyword, None)
        if value is not None and value is not False:
            yield f"--shard: {keyword}: {said}", node.mark_of(keyword)
    if isinstance(node, Task) and (adds := _adds(node)):
        yield f"--shard: {adds}: {_ADDING}", node.mark


def _adds(task: Task) -> str | None:
    if task.task_type is not None and task.task_type.name == "add_host":
        return "add_host"
    return "refresh_inventory" if "refresh_inventory" in task.args.values() else None


def _nodes(play: Play) -> Iterator[Keywords]:
    """A play, its roles, blocks, tasks and handlers, as far as they can be seen before the run."""
    yield play
    yield from play.static_roles()
    for _section, entries in play.sections():
        yield from _entries(entries)
    yield from _entries(play.handlers())


def _entries(entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in walk([*entries]):
        yield entry
        if isinstance(entry, Task):
            yield from _entries(entry.preview)
