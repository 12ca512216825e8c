"""The files of the runs of several shards, put into one folder."""

from __future__ import annotations

import heapq
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl.engine import progress
from labctl.errors import UsageError
from labctl.records import dataclass

_EVENTS = "events.jsonl"
# Made anew for the whole; and what `labctl report` makes.
_JOINED = {"run.json", _EVENTS, progress.FILE, "report.json", "report.csv", "report.md", "report.html"}
_ONCE = ("run_start", "stats", "run_end")

Plan = Mapping[Path, Sequence[Path]]


@dataclass(frozen=True)
class Part:
    """The run of one shard: its folder and what its run.json says."""

    folder: Path
    head: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.folder.name} (shard {self.index}/{self.of})"

    @property
    def shard(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.head["shard"]
        return found

    @property
    def index(self) -> int:
        return int(self.shard["index"])

    @property
    def of(self) -> int:
        return int(self.shard["of"])

    @property
    def ended(self) -> bool:
        return self.head.get("exit_code") is not None

    @property
    def recap(self) -> Mapping[str, Any]:
        return self.head.get("recap") or {}

    def summary(self) -> dict[str, Any]:
        """For the run.json of the whole."""
        keys = ("started", "ended", "exit_code", "seconds", "self", "argv")
        told = {key: self.head.get(key) for key in keys}
        return {"shard": self.index, "of": self.of, "run": self.folder.name, "hosts": len(self.recap), **told}


def plan(parts: Sequence[Part]) -> Plan:
    """Where each file of the whole comes from: of several files those that are put after one another. UsageError
    where two shards have made different files of one name."""
    found: dict[Path, list[tuple[Part, Path]]] = {}
    trials: dict[Path, Part] = {}
    for part in parts:
        for path in sorted(part.folder.rglob("*")):
            name = path.relative_to(part.folder)
            if str(name) in _JOINED or name.name.startswith(".") or not path.is_file():
                continue
            if name.parts[0] == "trials" and len(name.parts) > 1:
                _check_trial(trials, Path(*name.parts[:2]), part)
            found.setdefault(name, []).append((part, path))
    return {name: _sources(name, sources) for name, sources in found.items()}


def _check_trial(trials: dict[Path, Part], name: Path, part: Part) -> None:
    other = trials.setdefault(name, part)
    if other is not part:
        raise UsageError(
            f"{other} and {part} have each made a trial {name}: they are experiments of their own",
            hint="a play that migrates is for one host, and so for one shard",
        )


def _sources(name: Path, found: Sequence[tuple[Part, Path]]) -> list[Path]:
    paths = [path for _part, path in found]
    if len(paths) == 1 or name.parts[0] == "logs":
        return paths
    if name.parts[0] == "facts":  # of a host that another one delegated to, its own shard knows best
        return [next((path for part, path in found if name.stem in part.shard["hosts"]), paths[0])]
    if len({path.read_bytes() for path in paths}) == 1:
        return paths[:1]
    raise UsageError(f"{' and '.join(str(part) for part, _path in found)} hold different files {name}")


def copy(files: Plan, folder: Path) -> None:
    for name, sources in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as stream:
            for source in sources:
                with source.open("rb") as text:
                    shutil.copyfileobj(text, stream)


def join_progress(parts: Sequence[Part], folder: Path) -> None:
    """What the hosts of all shards have done."""
    number = os.open(folder / progress.FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(number, "w", encoding="utf-8") as stream:
        for part in parts:
            for _record, line in _lines(part.folder / progress.FILE):
                stream.write(line)


def join_events(parts: Sequence[Part], first: Part, folder: Path, head: Mapping[str, Any]) -> None:
    """The events of all shards by time, each with the number of its shard, between one beginning and one end."""
    with (folder / _EVENTS).open("w", encoding="utf-8") as stream:
        for _time, line in _beginning(first, folder, head):
            stream.write(line)
        for _time, line in heapq.merge(*(_events(part) for part in parts), key=lambda event: event[0]):
            stream.write(line)
        tail = {key: head[key] for key in ("exit_code", "seconds", "undone", "self")}
        for kind, data in (
            ("stats", {"hosts": head["recap"], "custom": head.get("custom_stats") or {}}),
            ("run_end", {"run_dir": str(folder), **tail}),
        ):
            stream.write(json.dumps({"event": kind, "time": head["ended"], "data": data}) + "\n")


def _beginning(first: Part, folder: Path, head: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    for record, _line in _lines(first.folder / _EVENTS):
        if record.get("event") == "run_start":
            record["data"] |= {"run_dir": str(folder), "argv": head["argv"]}
            yield record["time"], json.dumps(record) + "\n"
            return


def _events(part: Part) -> Iterator[tuple[float, str]]:
    for record, line in _lines(part.folder / _EVENTS):
        if record.get("event") not in _ONCE:
            yield float(record.get("time") or 0), f'{line.rstrip()[:-1]}, "shard": {part.index}}}\n'


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The whole lines of a file; the last of a killed run may be cut off."""
    try:
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record, line
    except FileNotFoundError:
        return
