"""Stressors at work on a node, and what a task says of them afterwards."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.errors import LabctlError, TaskFailed
from labctl.measure.load import Load, Stressor, read_load
from labctl.node.api import Node
from labctl.node.bundle import with_siblings
from labctl.node.collection import Collection
from labctl.paths import builtin

READY_WITHIN = 25.0  # seconds: a little more than the program itself has patience


def _started(node: Node, arguments: Mapping[str, Any], path: Path, name: str) -> Collection:
    """The program on a node, at work. TaskFailed with its own words when it does not begin."""
    folder = builtin("collectors") / "stress"
    given = {**arguments, "plan": json.dumps(arguments["plan"]), "asked": json.dumps(arguments["asked"])}
    source = with_siblings(folder / "main.py", "stress", folder)
    try:
        part = Collection(
            node,
            folder / "main.py",
            given,
            path,
            name=name,
            what="load",
            source=source,
            patience=READY_WITHIN,
        )
        if part.header is None:
            part.stop()
            raise TaskFailed(f"load '{name}' on {node.host} did not begin within {READY_WITHIN:g} s")
    except TaskFailed as error:
        path.unlink(missing_ok=True)
        said = str(error.values.get("stderr") or "").strip()
        raise TaskFailed(said.splitlines()[-1] if said else error.message, **error.values) from None
    return part


class Session:
    """Start with the constructor, `stop` once. A plan with `network` has its sink on the node `to`, whose lines go beside `path`.
    TaskFailed when the program does not begin, with its own words."""

    def __init__(
        self,
        node: Node,
        arguments: Mapping[str, Any],
        path: Path,
        name: str,
        *,
        to: tuple[Node, str] | None = None,
    ) -> None:
        """`arguments`: the program's options, `plan` and `asked` among them; `to`: the sink's node, and its address."""
        self.path = path
        self.parts: list[Collection] = []
        plan = {kind: dict(options) for kind, options in arguments["plan"].items()}
        try:
            if to:
                self._connect(plan["network"], *to, path, name)
            self.parts.append(_started(node, {**arguments, "plan": plan}, path, name))
        except BaseException:
            self.abandon()
            raise

    def _connect(self, network: dict[str, Any], sink: Node, address: str, path: Path, name: str) -> None:
        token = secrets.token_hex(32)
        anywhere = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - its port drops who has no token
        plan = {"sink": {"workers": 1, "address": anywhere, "token": token}}
        beside = path.with_name(f"{path.stem}-sink-{sink.host}.jsonl")
        part = _started(sink, {"plan": plan, "asked": {}}, beside, f"{name} sink")
        self.parts.append(part)
        assert part.header is not None
        network.update(to=[address, part.header["stressors"]["sink"]["ports"][0]], token=token)

    @property
    def running(self) -> bool:
        return self.parts[-1].running

    def stop(self) -> Load:
        """End it, its sink last; what it did. TaskFailed when it had died."""
        try:
            for part in reversed(self.parts):
                part.stop()
        except BaseException:
            self.abandon()
            raise
        with self.path.open(encoding="utf-8") as lines:
            return read_load(lines)

    def abandon(self) -> None:
        """End what there is of it, without asking what became of it."""
        for part in reversed(self.parts):
            with contextlib.suppress(LabctlError):
                part.stop()


def summary(load: Load) -> dict[str, Any]:
    """What a task returns of a load: JSON, by stressor."""
    return {
        "stressors": {one.name: _summary(one) for one in load.stressors},
        "cpu_seconds": round(sum(one.cpu_seconds for one in load.stressors), 3),
        "seconds": round(max((one.seconds for one in load.stressors), default=0.0), 3),
        "ended": load.reason,
        "errors": [dict(error) for error in load.errors],
        "deaths": [dict(death) for death in load.deaths],
        "oom_kills": load.oom_kills,
    }


def _summary(one: Stressor) -> dict[str, Any]:
    lasted = one.seconds
    return {
        "unit": one.unit,
        "work": one.work,
        "per_second": round(one.work / lasted, 3) if lasted else None,
        "checked": sum(worker.checked for worker in one.workers),
        "held": one.held,
        "cpu_seconds": round(one.cpu_seconds, 3),
        "cores": round(one.cpu_seconds / lasted, 4) if lasted else None,
        "workers": [
            {
                "work": worker.work,
                "per_second": None if worker.per_second is None else round(worker.per_second, 3),
                "held": worker.held,
                "seconds": round(worker.seconds, 3),
                "cpu_seconds": round(worker.cpu_seconds, 3),
                "ended": worker.ended,
            }
            for worker in one.workers
        ],
    }
