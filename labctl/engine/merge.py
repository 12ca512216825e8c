"""`labctl runs merge`: the runs of the shards of one run, joined into the folder that the run would have left."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl.engine import merge_files
from labctl.engine.journal import make_run_dir, write_json
from labctl.engine.merge_files import Part
from labctl.engine.resume import Earlier
from labctl.errors import EnvironmentProblem, UsageError, did_you_mean
from labctl.records import dataclass

_ALIKE = ("playbooks", "inventory", "limit", "tags", "skip_tags", "start_at_task", "check")


@dataclass(frozen=True)
class Merged:
    """What came of it. `missing`: numbers of the shards that are not in it, or have not ended."""

    folder: Path
    head: Mapping[str, Any]
    missing: tuple[int, ...]


def merge(names: Sequence[str], root: Path, output: Path | None = None, *, partial: bool = False) -> Merged:
    """Join the runs `names` (folders, or ids below `root`/runs) into `output`, or into a new folder below
    `root`/runs. UsageError where they are no shards of one run, or (unless `partial`) not all of them, and then
    nothing is written."""
    parts = sorted((_part(_folder(name, root)) for name in names), key=lambda part: part.index)
    for part in parts[1:]:
        _check_same(parts[0], part)
    _check_apart(parts)
    of = parts[0].of
    there = {part.index for part in parts if part.ended}
    missing = tuple(index for index in range(1, of + 1) if index not in there)
    if not partial:
        _check_whole(parts, missing)
    plan = merge_files.plan(parts)
    first = min(parts, key=lambda part: float(part.head["started"]))
    try:
        folder = _empty(output) if output else make_run_dir(root, _name(first))
        head = _head(parts, missing)
        merge_files.copy(plan, folder)
        merge_files.join_progress(parts, folder)
        merge_files.join_events(parts, first, folder, head)
        write_json(folder / "run.json", head)
    except OSError as error:
        raise EnvironmentProblem(f"the runs cannot be joined: {error.strerror} ({error.filename})") from None
    return Merged(folder, head, missing)


def _folder(name: str, root: Path) -> Path:
    found = next((path for path in (root / "runs" / name, Path(name)) if (path / "run.json").is_file()), None)
    if found is None:
        known = [path.parent.name for path in (root / "runs").glob("*/run.json")]
        raise UsageError(
            f"there is no run '{name}'", hint=did_you_mean(name, known) or "labctl runs lists them"
        )
    return found.resolve()


def _part(folder: Path) -> Part:
    try:
        head = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the run.json of {folder} cannot be read: {error}") from None
    if not head.get("shard"):
        raise UsageError(f"{folder.name} is no run of a shard", hint="labctl run --shard 1/4 makes one")
    return Part(folder, head)


def _check_same(one: Part, other: Part) -> None:
    if one.of != other.of:
        raise UsageError(f"{one} and {other} are parts of different wholes")
    for key in _ALIKE:
        if one.head.get(key) != other.head.get(key):
            values = f"{json.dumps(one.head.get(key))} and {json.dumps(other.head.get(key))}"
            raise UsageError(
                f"{one} and {other} are of different runs: their {key.replace('_', ' ')} are {values}"
            )
    if one.shard["digest"] != other.shard["digest"]:
        counts = one.shard["total"], other.shard["total"]
        said = f"of {counts[0]} and of {counts[1]} hosts" if counts[0] != counts[1] else "of other hosts"
        raise UsageError(
            f"{one} and {other} are of different runs: their inventories were {said}",
            hint="every shard must be given the same inventory",
        )


def _check_apart(parts: Sequence[Part]) -> None:
    """No shard twice, and no host in two of them."""
    owners: dict[str, Part] = {}
    seen: dict[int, Part] = {}
    for part in parts:
        if part.index in seen:
            raise UsageError(
                f"shard {part.index}/{part.of} is there twice: {seen[part.index].folder.name} and"
                f" {part.folder.name}",
                hint="name the run that counts; of a resumed shard that is the last",
            )
        seen[part.index] = part
        for host in part.recap:
            if host in owners:
                raise UsageError(
                    f"host {host} was worked on in both {owners[host]} and {part}",
                    hint="the run itself has added it to the inventory in each of them",
                )
            owners[host] = part


def _check_whole(parts: Sequence[Part], missing: Sequence[int]) -> None:
    hint = "--partial joins what there is"
    for part in parts:
        if not part.ended:
            reason = Earlier.of(part.folder).reason or "it was killed"
            raise UsageError(f"{part} has not ended: {reason}", hint=f"{hint}; labctl run --resume ends it")
    if missing:
        of = parts[0].of
        names = ", ".join(f"{index}/{of}" for index in missing)
        raise UsageError(f"shard{'s' * (len(missing) > 1)} {names} of the run are missing", hint=hint)


def _empty(folder: Path) -> Path:
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"-o: {folder} holds something already")
    (folder / "logs").mkdir(parents=True)
    return folder.resolve()


def _name(part: Part) -> str:
    return f"{Path(str(part.head['playbooks'][0])).stem}-merged.yml"


def _head(parts: Sequence[Part], missing: Sequence[int]) -> dict[str, Any]:
    """The run.json of the whole."""
    first = parts[0].head
    ended = [float(part.head["ended"]) for part in parts if part.ended]
    started = min(float(part.head["started"]) for part in parts)
    head = {key: value for key, value in first.items() if key in (*_ALIKE, "labctl", "commit")}
    head |= {
        "argv": _without_shard(first.get("argv") or []),
        "resumes": None,
        "started": started,
        "ended": max(ended, default=max(float(part.head["started"]) for part in parts)),
        "exit_code": exit_code([part.head for part in parts], whole=not missing),
        "seconds": round(max(ended) - started, 3) if ended else None,
        "undone": [line for part in parts for line in part.head.get("undone") or ()],
        "self": _cost([part.head["self"] for part in parts if part.head.get("self")]),
        "recap": _recap(parts),
        "error": next((part.head["error"] for part in parts if part.head.get("error")), None),
        "shards": [part.summary() for part in parts],
        "missing_shards": list(missing),
    }
    if custom := _custom([part.head["custom_stats"] for part in parts if part.head.get("custom_stats")]):
        head["custom_stats"] = custom
    if lost := [f"{part}: {part.head['journal']}" for part in parts if part.head.get("journal")]:
        head["journal"] = "; ".join(lost)
    return head


def exit_code(heads: Sequence[Mapping[str, Any]], *, whole: bool = True) -> int:
    """What the run would have ended with had it been one: an interrupt, a fault of labctl and an error that
    ends a run come before what failures on hosts agree on. A part that is missing counts as interrupted."""
    codes = {int(head["exit_code"]) for head in heads if head.get("exit_code")}
    fatal = [int(head["exit_code"]) for head in heads if head.get("exit_code") and head.get("error")]
    if not whole or 130 in codes:
        return 130
    if 1 in codes or not codes:
        return 1 if codes else 0
    if fatal:
        return fatal[0]
    codes = codes - {3} or codes
    if 4 in codes:
        return 4
    return codes.pop() if len(codes) == 1 else 2


def _recap(parts: Sequence[Part]) -> dict[str, Any]:
    """Every host's counts, in the inventory's order."""
    places: dict[str, float] = {name: place for part in parts for name, place in part.shard["hosts"].items()}
    counts = {host: found for part in parts for host, found in part.recap.items()}
    return {host: counts[host] for host in sorted(counts, key=lambda name: places.get(name, math.inf))}


def _cost(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """CPU of all controllers together; of the rest the greatest."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for cost in costs for key in cost):
        values = [cost[key] for cost in costs if cost.get(key) is not None]
        together = sum if key.endswith("cpu_seconds") else max
        found[key] = round(together(values), 3) if values else None
    return found


def _custom(stats: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The figures of set_stats, those of the run added up as it adds them up."""
    whole: dict[str, dict[str, Any]] = {}
    for one in stats:
        for owner, figures in one.items():
            known = whole.setdefault(owner, {})
            for name, value in figures.items():
                known[name] = _added(known[name], value) if name in known else value
    return whole


def _added(before: Any, value: Any) -> Any:
    if isinstance(before, Mapping) and isinstance(value, Mapping):
        return {**before, **value}
    if type(before) is type(value) and isinstance(value, int | float | str | list):
        return before + value
    return before


def _without_shard(argv: Sequence[str]) -> list[str]:
    """The command line of the whole run."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--shard":
            next(words, None)
        elif not word.startswith("--shard="):
            kept.append(word)
    return kept
