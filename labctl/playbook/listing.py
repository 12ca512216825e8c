"""What a run would do, without doing it: the data behind --list-tasks, --list-tags, --list-hosts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from labctl.errors import Mark, did_you_mean
from labctl.inventory import Inventory
from labctl.playbook.tags import selected
from labctl.playbook.tree import Entry, Play, Playbook, Section, Task, walk
from labctl.records import dataclass

_SPECIAL_TAGS = ("all", "always", "never", "tagged", "untagged")


@dataclass(frozen=True)
class ListedTask:
    """`label` is "role : name"; `handlers` are not listed. Tags are as written, sorted."""

    section: Section
    label: str
    action: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class ListedPlay:
    """`number` counts from 1; `pattern` is `hosts` as written."""

    number: int
    name: str
    pattern: str
    tags: tuple[str, ...]
    tasks: tuple[ListedTask, ...] = ()
    hosts: tuple[str, ...] = ()


def list_tasks(
    playbook: Playbook, only: Collection[str] = (), skip: Collection[str] = ()
) -> list[ListedPlay]:
    """Plays with the tasks these tags choose. What dynamic includes load is not among them."""
    return [_listed(number, play, _tasks(play, only, skip)) for number, play in enumerate(playbook.plays, 1)]


def list_tags(playbook: Playbook, only: Collection[str] = (), skip: Collection[str] = ()) -> list[ListedPlay]:
    """Plays with every tag their chosen tasks have."""
    listed: list[ListedPlay] = []
    for number, play in enumerate(playbook.plays, 1):
        tags = {tag for task in _tasks(play, only, skip) for tag in task.tags}
        listed.append(ListedPlay(number, _name(play), _pattern(play), tuple(sorted(tags))))
    return listed


def list_hosts(playbook: Playbook, inventory: Inventory, limit: str | None = None) -> list[ListedPlay]:
    """Plays with the hosts they are for. A name that nothing has stands for no hosts; a pattern that is
    a template is left without hosts."""
    listed: list[ListedPlay] = []
    for number, play in enumerate(playbook.plays, 1):
        known = "{{" not in _pattern(play)
        hosts = tuple(host.name for host in inventory.match(play.hosts, limit, warn=_ignore)) if known else ()
        listed.append(ListedPlay(number, _name(play), _pattern(play), _tags(play.all_tags()), hosts=hosts))
    return listed


def _ignore(_message: str, _mark: Mark | None) -> None:
    """The run itself warns."""


def adds_hosts(playbook: Playbook) -> bool:
    """Whether its tasks, as far as they can be seen, may add hosts or groups to the inventory."""
    return any(
        (entry.task_type is not None and entry.task_type.name in ("add_host", "group_by"))
        or "refresh_inventory" in entry.args.values()
        for play in playbook.plays
        for _section, entries in play.sections()
        for entry in walk(entries)
        if isinstance(entry, Task)
    )


def _listed(number: int, play: Play, tasks: Sequence[ListedTask]) -> ListedPlay:
    return ListedPlay(number, _name(play), _pattern(play), _tags(play.all_tags()), tuple(tasks))


def _tasks(play: Play, only: Collection[str], skip: Collection[str]) -> list[ListedTask]:
    return [
        ListedTask(section, entry.label(), entry.action, _tags(entry.all_tags()))
        for section, entries in play.sections()
        for entry in walk(entries)
        if isinstance(entry, Task)
        and entry.action != "meta"
        and selected(_tags(entry.all_tags()), only, skip)
    ]


def _tags(tags: Sequence[object]) -> tuple[str, ...]:
    return tuple(sorted(str(tag) for tag in tags))


def _pattern(play: Play) -> str:
    return ",".join(map(str, play.hosts)) if isinstance(play.hosts, list) else str(play.hosts)


def _name(play: Play) -> str:
    return str(play.name) if play.name else _pattern(play)


def unknown_tags(playbooks: Iterable[Playbook], wanted: Iterable[str]) -> list[tuple[str, str | None]]:
    """Tags that no task of the playbooks has, each with a hint. None are called so where an include or a tag is
    known only during the run."""
    known = set(_SPECIAL_TAGS)
    for play in (play for playbook in playbooks for play in playbook.plays):
        entries = [entry for _section, section in play.sections() for entry in section]
        for task in _with_previews([*entries, *play.handlers()]):
            tags = _tags(task.all_tags())
            if (task.dynamic and not task.preview) or any("{{" in tag for tag in tags):
                return []
            known.update(tags)
    return [(tag, did_you_mean(tag, known)) for tag in dict.fromkeys(wanted) if tag not in known]


def _with_previews(entries: Iterable[Entry]) -> Iterator[Task]:
    for entry in walk([*entries]):
        if isinstance(entry, Task):
            yield entry
            yield from _with_previews(entry.preview or ())
