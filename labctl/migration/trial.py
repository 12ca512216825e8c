"""The raw files of one migration: trial.json, steps.jsonl and the pod's logs (docs/architecture.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labctl.migration.recorder import Phase
from labctl.migration.strategies import Moved
from labctl.pods.model import PodStatus
from labctl.records import dataclass

_STATE_EVENTS = ("start", "resume", "step", "hold", "save", "stop", "go-on")


@dataclass(frozen=True, slots=True)
class State:
    """Where a training stands: its step and the sha256 of all that the next steps depend on."""

    step: int | None
    sha256: str | None


@dataclass(frozen=True)
class Proof:
    """The state at both ends of a migration, from the trainer's own log lines. `continued`: the target began
    with the very state the source ended with."""

    before: State | None
    after: State | None
    steps_redone: int | None

    @property
    def continued(self) -> bool | None:
        if self.before is None or self.after is None:
            return None
        return self.before == self.after and self.before.sha256 is not None


def log_events(text: str, host: str) -> list[dict[str, Any]]:
    """The JSON lines of a container's log, with the node it was read from as `host`. Other lines, and one that
    was cut short, are left out."""
    found = []
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            found.append({**event, "host": host})
    return found


def proof(source: Iterable[Mapping[str, Any]], target: Iterable[Mapping[str, Any]]) -> Proof:
    """The last state told on the source and the first on the target."""
    before: State | None = None
    for event in source:
        sha256 = event.get("to") or event.get("sha256")
        if event["event"] in _STATE_EVENTS and event.get("step") is not None and sha256:
            before = State(int(event["step"]), str(sha256))
    after: State | None = None
    for event in target:
        if event["event"] in ("start", "resume"):
            after = State(event.get("step"), event.get("sha256"))
        elif event["event"] == "step":
            after = State(int(event["step"]) - 1, event.get("from"))
        if after:
            break
    redone = None
    if before and after and before.step is not None and after.step is not None:
        redone = max(0, before.step - after.step)
    return Proof(before, after, redone)


def describe_containers(status: PodStatus | None) -> dict[str, dict[str, Any]]:
    if status is None:
        return {}
    return {
        name: {"state": one.state, "exit_code": one.exit_code, "reason": one.reason}
        for name, one in status.containers.items()
    }


def trial_json(
    head: Mapping[str, Any],
    phases: Iterable[Phase],
    moved: Moved | None,
    shown: Proof,
    *,
    regained: tuple[float | None, str | None],
    error: str | None,
) -> dict[str, Any]:
    """The whole of trial.json. `head`: the keys that say which trial this is and its times and windows."""
    told = (moved.told if moved else None) or {}
    sizes = moved.moved if moved else []
    return {
        **head,
        "phases": [{"name": p.name, "start": p.start, "end": p.end} for p in phases],
        "regained": regained[0],
        "regained_reason": regained[1],
        "progress_at_start": {"step": told.get("step"), "completed": told.get("completed") or []},
        "source_stopped": moved.source_stopped if moved else None,
        "moved_bytes": sum(size for _, size in sizes),
        "moved": [{"what": what, "bytes": size} for what, size in sizes],
        "frozen_seconds": moved.frozen_seconds if moved else {},
        "state": {
            "before": _state(shown.before),
            "after": _state(shown.after),
            "continued": shown.continued,
        },
        "steps_redone": shown.steps_redone,
        "restarted": moved.restarted if moved else [],
        "not_restarted": moved.not_restarted if moved else [],
        "containers": {
            "before": describe_containers(moved.before if moved else None),
            "after": describe_containers(moved.after if moved else None),
        },
        "warnings": moved.warnings if moved else [],
        "error": error,
    }


def _state(state: State | None) -> dict[str, Any] | None:
    return {"step": state.step, "sha256": state.sha256} if state else None


def write_trial(
    folder: Path, trial: Mapping[str, Any], logs: Mapping[str, Mapping[str, str]], stateful: Iterable[str]
) -> None:
    """Write trial.json, steps.jsonl and logs/<container>@<node>.log; `logs` are by node (source first), then
    container. trial.json comes last and at once: where it is, the trial is whole."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    wanted = set(stateful)
    with (folder / "steps.jsonl").open("w") as stream:
        for node, texts in logs.items():
            for container, text in texts.items():
                if container in wanted:
                    stream.writelines(json.dumps(event) + "\n" for event in log_events(text, node))
    for node, texts in logs.items():
        for container, text in texts.items():
            if text:
                (folder / "logs" / f"{container}@{node}.log").write_text(text)
    part = folder / "trial.json.part"
    part.write_text(json.dumps(trial, indent=1) + "\n")
    part.rename(folder / "trial.json")
