"""What a run said, to compare with what another did."""

from __future__ import annotations

import json

from labctl.events import Kind

_TIMES = ("start", "end", "delta", "seconds")


def told(ran) -> list[object]:
    """What was said of each task and host, but for times."""
    tasks: list[list[str]] = [[]]
    for event in ran.events:
        if event.kind in (Kind.RUN_START, Kind.RUN_END):
            continue
        if event.kind is Kind.TASK_START:
            tasks.append([])
        data = json.loads(json.dumps(event.data, default=str), object_hook=_timeless)
        tasks[-1].append(json.dumps([event.kind.value, event.task, event.host, data], sort_keys=True))
    return [sorted(task) for task in tasks]


def _timeless(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name not in _TIMES}
