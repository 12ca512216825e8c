"""`--resume`: go on per host where an earlier run left it.

The playbook is walked from its beginning; a task that a host has done is not run there again, its outcome is
taken from the earlier run. The first task a host has not done is where it starts: from then on everything runs.
"""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labctl.engine import progress
from labctl.engine.outcome import Outcome
from labctl.engine.progress import Begun, Place, Progress
from labctl.errors import PlaybookError, UsageError, did_you_mean
from labctl.playbook.tree import Entry, Play, Task, walk
from labctl.records import dataclass


@dataclass(frozen=True)
class Earlier:
    """A run to go on from: what its run.json says. `reason`: why it cannot be resumed."""

    folder: Path
    head: dict[str, Any]
    reason: str | None

    @classmethod
    def of(cls, folder: Path) -> Earlier:
        try:
            head = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            head = {}
        return cls(folder, head, _reason(folder, head))


def _reason(folder: Path, head: dict[str, Any]) -> str | None:
    if not head or not (folder / progress.FILE).exists():
        return "it has no record of what its hosts have done"
    if head.get("check"):
        return "it was a dry run, which does nothing"
    if head.get("exit_code") == 0:
        return "it has ended well"
    try:
        with (folder / progress.FILE).open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "it is still running"
    except OSError:
        return None  # a file system without locks
    return None


def find(name: str, root: Path) -> Earlier:
    """The run `name` means below `root`/runs: 'last', an id, or a folder. UsageError when there is none, or
    when it cannot be resumed."""
    runs = root / "runs"
    known = sorted(path.parent for path in runs.glob("*/run.json") if not path.parent.is_symlink())
    if name in ("last", "latest"):
        if not known:
            raise UsageError(f"--resume: there are no runs below {runs}")
        folder = known[-1]
    else:
        folder = next((path for path in (runs / name, Path(name)) if (path / "run.json").is_file()), Path())
        if folder == Path():
            hint = did_you_mean(name, [path.name for path in known]) or "labctl runs lists them"
            raise UsageError(f"--resume: there is no run '{name}'", hint=hint)
    earlier = Earlier.of(folder.resolve())
    if earlier.reason:
        raise UsageError(f"--resume: {folder} cannot be resumed: {earlier.reason}")
    return earlier


class Past:
    """What the hosts did in the earlier run. Empty when there is none."""

    def __init__(self, folder: Path | None, plays: Sequence[Play]) -> None:
        self._done: dict[tuple[str, Place, int], dict[str, Any]] = {}
        self._moved_on: set[str] = set()
        self._known: set[Place] = set()
        if folder is None:
            return
        for line in progress.lines(folder / progress.FILE):
            place = Place(line["play"], line["file"], line["digest"])
            if line.get("stopped"):
                self._known.add(place)
            else:
                self._done[line["host"], place, line["turn"]] = line
        for number, play in enumerate(plays, 1):
            entries = [entry for _section, entries in play.sections() for entry in entries]
            self.verify(number, [*entries, *play.handlers()])

    @property
    def empty(self) -> bool:
        """Whether no host had done anything."""
        return not self._done

    def summary(self) -> str:
        """How much each host has done."""
        counts = Counter(host for host, _place, _turn in self._done)
        return ", ".join(
            f"{host} has done {count} task{'s' * (count != 1)}" for host, count in counts.items()
        )

    def verify(self, play: int, entries: Sequence[Entry]) -> None:
        """Check that what was done is still what these entries say. PlaybookError naming a task that has
        changed. A task that stopped a host may have been mended: where it was done, it is done anew, with
        all that follows."""
        if not self._done:
            return
        places = [Place.of(play, task) for task in walk(entries) if isinstance(task, Task)]
        self._known.update(places)
        files = {place.file for place in places}
        for (_host, place, _turn), line in self._done.items():
            if line["task"] == "Gathering Facts":
                continue  # the play's own, which no list of tasks holds
            if place.play == play and place.file in files and place not in self._known:
                raise PlaybookError(
                    f"the playbook has changed since the run to resume: its task '{line['task']}'"
                    f" ({line['at']}) was done there, and is no longer the same",
                    hint="run it anew, without --resume",
                )

    def actor(self, place: Place, hosts: Sequence[str]) -> int:
        """Which of the hosts did a run_once task; the first where none did."""
        for index, host in enumerate(hosts):
            if (host, place, 1) in self._done and host not in self._moved_on:
                return index
        return 0

    def outcome(self, begun: Begun) -> Outcome | None:
        """What the task came to on the host in the earlier run; None when it is to be run (again)."""
        if begun.host in self._moved_on:
            return None
        line = self._done.get((begun.host, begun.place, begun.turn))
        if line is None:
            self._moved_on.add(begun.host)
            return None
        return None if line.get("again") else progress.restored(line["outcome"])


class History:
    """What the hosts did in the run to resume, if there is one, and what they do in this one."""

    def __init__(self, folder: Path, past: Past, plays: Sequence[Play]) -> None:
        self.progress = Progress(folder, plays)
        self.past = past

    def actor(self, task: Task, hosts: Sequence[str]) -> int:
        """The index of the host that a task of run_once is for."""
        return self.past.actor(self.progress.place(task), hosts)

    def begin(self, task: Task, hosts: Sequence[str]) -> list[tuple[Begun, Outcome | None]]:
        """Hosts begin a task: for each, what came of it in the earlier run."""
        begun = self.progress.begin(hosts, task)
        if self.past.empty:
            return [(each, None) for each in begun]
        return [(each, self.past.outcome(each)) for each in begun]

    def loaded(self, parent: Task, entries: Sequence[Entry]) -> None:
        """A dynamic include has brought these. PlaybookError when they have changed since."""
        self.past.verify(self.progress.place(parent).play, entries)
