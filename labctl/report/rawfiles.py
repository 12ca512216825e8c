"""Reads a run's raw files as they are: cut short, missing or damaged ones are said, not guessed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.measure.load import Load, read_load
from labctl.measure.migration import Probes, Step, read_probes, read_steps
from labctl.measure.recording import Recording, read_recording
from labctl.records import dataclass, field


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, or None when there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file. A line that is not one (the last of a killed program) is left out."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
    except OSError:
        return


@dataclass(frozen=True)
class Trial:
    """One migration's folder. `head` is its trial.json, `problem` says why there is none."""

    folder: Path
    head: Mapping[str, Any]
    problem: str | None = None
    unreadable: list[str] = field(default_factory=list)

    @property
    def number(self) -> int:
        return int(self.head.get("trial") or 0)

    @property
    def pair(self) -> int:
        return int(self.head.get("pair") or 0)

    @property
    def strategy(self) -> str:
        return str(self.head.get("strategy") or "?")

    def offset(self, host: str | None) -> float:
        """A host's wall clock minus the controller's, in seconds; 0 where it was not recorded."""
        offsets = self.head.get("offset")
        value = offsets.get(host) if isinstance(offsets, Mapping) else None
        return float(value) if isinstance(value, int | float) else 0.0

    @cached_property
    def recordings(self) -> list[Recording]:
        """What the `cgroup` collector of each host wrote; unreadable ones are in `unreadable`."""
        found = []
        for path in sorted(self.folder.glob("cgroup-*.jsonl")):
            offset = self.offset(path.stem.removeprefix("cgroup-"))
            try:
                found.append(read_recording(_lines(path), offset=offset))
            except (ValueError, KeyError, TypeError) as error:
                self.unreadable.append(f"{path.name}: {error}")
        return found

    @cached_property
    def probes(self) -> Probes | None:
        path = self.folder / "probe.jsonl"
        host = next(
            (record.get("host") for record in json_lines(path) if record.get("type") == "header"), None
        )
        try:
            return read_probes(_lines(path), offset=self.offset(host))
        except (ValueError, KeyError, TypeError) as error:
            self.unreadable.append(f"{path.name}: {error}")
            return None

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """Every line of the trainer's log, in order."""
        return list(json_lines(self.folder / "steps.jsonl"))

    @cached_property
    def steps(self) -> list[Step]:
        try:
            return read_steps(json.dumps(record) for record in self.log)
        except (ValueError, KeyError, TypeError) as error:
            self.unreadable.append(f"steps.jsonl: {error}")
            return []

    @property
    def containers(self) -> list[str]:
        """The pod's containers as the recordings name them."""
        seen = dict.fromkeys(name for recording in self.recordings for name in recording.containers())
        prefix = f"{self.head.get('pod')}/"
        return [name for name in seen if name.startswith(prefix)] or list(seen)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


@dataclass(frozen=True)
class Run:
    """A run's folder. `facts` maps each host to what was found out about it, `loads` is what ran beside the trials;
    `unreadable` names files that ought to be in it."""

    folder: Path
    head: Mapping[str, Any]
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    loads: tuple[Load, ...] = ()
    unreadable: tuple[str, ...] = ()


def read_run(folder: Path) -> Run:
    """Read a run's folder. UsageError when there is none."""
    if not folder.is_dir():
        raise UsageError(f"there is no run folder {folder}", hint="labctl runs lists the runs made here")
    found = []
    for path in sorted((folder / "trials").glob("*/")):
        head = read_json(path / "trial.json")
        found.append(_trial(path, head))
    facts = {path.stem: read_json(path) or {} for path in sorted((folder / "facts").glob("*.json"))}
    found.sort(key=lambda trial: (trial.number, trial.folder.name))
    loads, unreadable = _loads(folder / "load", found)
    return Run(folder, read_json(folder / "run.json") or {}, facts, tuple(found), loads, unreadable)


def _loads(folder: Path, trials: list[Trial]) -> tuple[tuple[Load, ...], tuple[str, ...]]:
    """Loads on the controller's clock: their hosts' offsets are the median of those the trials found."""
    loads, unreadable = [], []
    for path in sorted(folder.glob("*.jsonl")):
        host = next((record.get("host") for record in json_lines(path)), None)
        known = [trial.offset(host) for trial in trials if host in (trial.head.get("offset") or {})]
        try:
            loads.append(read_load(_lines(path), offset=statistics.median(known) if known else 0.0))
        except (ValueError, KeyError, TypeError) as error:
            unreadable.append(f"load/{path.name}: {error}")
    return tuple(loads), tuple(unreadable)


def _trial(path: Path, head: dict[str, Any] | None) -> Trial:
    if head is not None:
        return Trial(path, head)
    # The folder's name (<NN>-<strategy>-<k>) still says which trial it was.
    number, _, rest = path.name.partition("-")
    strategy, _, pair = rest.rpartition("-")
    known = {"trial": _whole(number), "strategy": strategy or "?", "pair": _whole(pair)}
    return Trial(path, known, "it did not end: there is no readable trial.json")


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def find_run(name: str, root: Path | None = None) -> Path:
    """The folder a person means: a path, a name below ./runs, or 'latest'. UsageError when there is none."""
    base = (root or Path()) / "runs"
    candidates = [base / name, Path(name)] if "/" not in name else [Path(name)]
    for path in candidates:
        if path.is_dir():
            return path.resolve()
    from labctl.errors import did_you_mean

    known = [path.name for path in base.iterdir() if path.is_dir()] if base.is_dir() else []
    raise UsageError(
        f"there is no run '{name}'",
        hint=did_you_mean(name, known) or "labctl runs lists the runs made here; 'latest' is the newest",
    )
