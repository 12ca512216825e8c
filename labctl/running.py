"""What tasks start on a host and later ones stop: found again by its name, and stopped with the run at the latest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from labctl.errors import LabctlError, TaskFailed, did_you_mean
from labctl.task_types import Context

Key = tuple[str, str]  # host, name


def stop_with_run(
    ctx: Context,
    running: MutableMapping[Key, Any],
    what: str,
    name: str,
    *,
    stop: Callable[[], object],
    kept: str,
) -> None:
    """When the run ends and it is still among `running`: stop it, and say so. `kept`: where to find what it told."""

    def close() -> str | None:
        if running.pop((ctx.host, name), None) is None:
            return None
        try:
            stop()
        except LabctlError as error:
            return f"{what} {name} on {ctx.host}: {error}"
        return f"stopped {what} {name} on {ctx.host}; {kept}"

    ctx.on_close(close)


def not_started(ctx: Context, running: Mapping[Key, object], what: str, name: str) -> TaskFailed:
    """The error of a task that is to stop what does not run."""
    names = [other for host, other in running if host == ctx.host]
    return TaskFailed(
        f"{what} '{name}' was not started on {ctx.host}",
        mark=ctx.mark,
        hint=did_you_mean(name, names) or (f"started here: {', '.join(names)}" if names else None),
    )
