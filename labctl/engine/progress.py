"""What each host has done, kept as it is done (`resume.jsonl`), so that a later run can go on from there.

A line for each task that ended on a host. Values are kept only where later tasks may need them: registered
results, facts and variables. A value that holds a secret, or that JSON cannot hold, is withheld: such a task
is run again by the run that resumes.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from labctl import vault
from labctl.engine.journal import encoder
from labctl.engine.outcome import Outcome
from labctl.engine.results import Result, hide
from labctl.events import Status
from labctl.playbook.tree import Handler, Play, Task

FILE = "resume.jsonl"
# What does not change what a task does.
_ASIDE = frozenset({"mark", "parent", "marks", "task_type", "preview", "name", "tags", "listen", "_known"})
# What these do is not on the host but in the run, and has to be done in each.
_OF_THE_RUN = frozenset({"add_host", "group_by", "include_vars", "set_stats", "meta"})
_SAID = ("ignore_errors", "ignore_unreachable", "notify", "target", "included")
_NEEDED = ("facts", "variables", "elsewhere")
_OUT = (Status.FAILED, Status.UNREACHABLE)
_PLAIN = (Status.OK, Status.CHANGED, Status.SKIPPED)


@dataclasses.dataclass(frozen=True)
class Place:
    """A task of a playbook: the play's number, the file (resolved), and a digest of the task as written. Equal
    for the same task in an unchanged file wherever it has moved to."""

    play: int
    file: str
    digest: str

    @classmethod
    def of(cls, play: int, task: Task) -> Place:
        return cls(play, _resolved(task.mark.file), digest(task))


@dataclasses.dataclass(slots=True)
class Begun:
    """A task a host has begun. `turn`: for the how manieth time, from 1."""

    host: str
    place: Place
    turn: int


class Ended(NamedTuple):
    """A task that has ended on a host. `status`: what it came to, after ignore_errors and rescue."""

    begun: Begun
    outcome: Outcome
    status: Status


_SORTED = json.JSONEncoder(sort_keys=True, default=repr)


_TELLING = {
    kind: [field.name for field in dataclasses.fields(kind) if field.name not in _ASIDE]
    for kind in (Task, Handler)
}


def digest(task: Task) -> str:
    """A digest of what a task does, as written; of secrets in it nothing can be told."""
    fields = {name: getattr(task, name) for name in _TELLING[type(task)]}
    text = _SORTED.encode(_plain(fields))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "mark"}
    return str(value)


@cache
def _resolved(file: str) -> str:
    return os.path.realpath(file)


class Progress:
    """Writes the file. Its lock is held as long as the run lives."""

    def __init__(self, folder: Path, plays: Sequence[Play]) -> None:
        self._numbers = {id(play): number for number, play in enumerate(plays, 1)}
        self._stream = os.fdopen(
            os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8"
        )
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # a file system without locks
        self._encode = encoder()
        self._places: dict[Task, Place] = {}
        self._heads: dict[tuple[Place, str], str] = {}
        self._hosts: dict[str, str] = {}  # their names, encoded
        self._counts: dict[Place, Counter[str]] = {}
        self._lock = threading.Lock()

    def place(self, task: Task) -> Place:
        place = self._places.get(task)
        if place is None:
            place = self._places[task] = Place.of(self._numbers.get(id(task.play), 0), task)
        return place

    def begin(self, hosts: Sequence[str], task: Task) -> list[Begun]:
        """Hosts begin a task, for the first time or again."""
        place = self.place(task)
        with self._lock:
            counts = self._counts.setdefault(place, Counter())
            counts.update(hosts)
            return [Begun(host, place, counts[host]) for host in hosts]

    def ended(self, task: Task, label: str, ended: Iterable[Ended]) -> None:
        """Note that a task has ended on hosts with these statuses; a failure that was neither ignored nor
        rescued is the place where the host stops."""
        head = self._head(task, label)
        usual = not (task.register or _of_the_run(task) or vault.current().masks)
        lines = [
            self._usual(head, each) if usual and _is_usual(each) else self._line(head, task, each)
            for each in ended
            if not each.outcome.result.is_unknown
        ]
        try:
            with self._lock:
                self._stream.write("".join(lines))
        except (OSError, ValueError):
            return  # the disk is full: what is not noted is run again

    def _head(self, task: Task, label: str) -> str:
        """What the lines of all hosts begin with."""
        place = self.place(task)
        head = self._heads.get((place, label))
        if head is None:
            said = {**dataclasses.asdict(place), "task": label, "at": str(task.mark)}
            head = self._heads[place, label] = f"{self._encode(vault.hide(said))[:-1]}, "
        return head

    def _usual(self, head: str, ended: Ended) -> str:
        """As `_line`, of an outcome that leaves nothing to keep."""
        host = self._hosts.get(ended.begun.host)
        if host is None:
            host = self._hosts[ended.begun.host] = self._encode(ended.begun.host)
        changed = ', "changed": true' if ended.status is Status.CHANGED else ""
        outcome = f'{{"status": "{ended.status}"{changed}}}'
        return f'{head}"host": {host}, "turn": {ended.begun.turn}, "outcome": {outcome}}}\n'

    def _line(self, head: str, task: Task, ended: Ended) -> str:
        begun, stopped = ended.begun, ended.status in _OUT
        kept, again = ({}, True) if stopped else _kept(task, ended.outcome)
        own: dict[str, Any] = {"host": begun.host, "turn": begun.turn, "outcome": kept}
        if stopped or again:
            own |= {"stopped": stopped, "again": again}
        return f"{head}{self._encode(vault.hide(own))[1:]}\n"

    def flush(self) -> None:
        try:
            with self._lock:
                self._stream.flush()
        except (OSError, ValueError):
            return

    def close(self) -> None:
        try:
            self._stream.close()
        except OSError:
            return


def _of_the_run(task: Task) -> bool:
    return task.action.rsplit(".", 1)[-1] in _OF_THE_RUN


def _is_usual(ended: Ended) -> bool:
    """Whether its status says all there is to say of it."""
    outcome, status = ended.outcome, ended.status
    return not (
        status not in _PLAIN
        or outcome.result.changed is not (status is Status.CHANGED)
        or outcome.ignore_errors
        or outcome.ignore_unreachable
        or outcome.notify
        or outcome.target
        or outcome.included
        or outcome.lasting
        or outcome.facts
        or outcome.variables
        or outcome.elsewhere
    )


def _kept(task: Task, outcome: Outcome) -> tuple[dict[str, Any], bool]:
    """What restores the outcome, without what is empty, and whether the task must be run again all the same."""
    result = outcome.result
    kept: dict[str, Any] = {"status": result.status}
    if result.changed:
        kept["changed"] = True
    kept |= {name: value for name in _SAID if (value := getattr(outcome, name))}
    if _of_the_run(task) or outcome.lasting:
        return kept, True
    needed = {name: value for name in _NEEDED if (value := getattr(outcome, name))}
    if "elsewhere" in needed:
        needed["elsewhere"] = [list(item) for item in outcome.elsewhere]
    if task.register or result.status in _OUT:
        needed["values"] = result.values
    if not needed:
        return kept, False
    if outcome.no_log or not _survives(needed) or vault.hide(hide(needed, outcome.secrets)) != needed:
        return kept, True
    return {**kept, **needed}, False


def _survives(value: Any) -> bool:
    """Whether JSON gives back what it was given."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def restored(kept: Mapping[str, Any]) -> Outcome:
    """The outcome a line holds."""
    values = dict(kept.get("values") or {"changed": bool(kept.get("changed"))})
    status = Status(kept["status"])
    return Outcome(
        Result(status, values).complete(),
        ignore_errors=bool(kept.get("ignore_errors")),
        ignore_unreachable=bool(kept.get("ignore_unreachable")),
        notify=list(kept.get("notify", ())),
        facts=dict(kept.get("facts", {})),
        variables=dict(kept.get("variables", {})),
        included=bool(kept.get("included")),
        target=kept.get("target"),
        elsewhere=[(host, facts, variables) for host, facts, variables in kept.get("elsewhere", ())],
        past=True,
    )


def lines(path: Path) -> Iterable[dict[str, Any]]:
    """The whole lines of the file; what was cut off by a crash is left out."""
    with path.open(encoding="utf-8") as stream:
        for text in stream:
            try:
                found = json.loads(text)
            except ValueError:
                return
            if isinstance(found, dict):
                yield found
