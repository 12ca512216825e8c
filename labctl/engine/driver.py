"""Runs one task type against one context: applies its changes, or in a dry run only lists them."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from typing import Any

from labctl import vault
from labctl.engine import results
from labctl.engine.results import Result
from labctl.errors import Interrupted, LabctlError, NodeError, TaskFailed
from labctl.events import Status
from labctl.task_types import Args, Change, Context, Skip, TaskType


class Detached(Exception):
    """The task goes on by itself on its host: `path` is the job's file there, `pid` the process that watches it."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(path)
        self.path = path
        self.pid = pid


def execute(task_type: TaskType, args: Args, ctx: Context) -> Result:
    """Every way a task type can end becomes a Result; only Interrupted and Detached pass through.

    `changed` is what the task type returned under that name, else whether it yielded a change."""
    taken = _Taken(ctx)
    try:
        values = taken.drive(task_type.run(args, ctx))
    except Skip as skip:
        return results.skipped(str(skip) or "the task had nothing to do")
    except (Interrupted, Detached):
        raise
    except TaskFailed as error:
        return taken.finish(results.of_error(error, error.values))
    except NodeError as error:
        return taken.finish(results.failed(_node_message(error)))
    except LabctlError as error:
        return taken.finish(results.of_error(error))
    except Exception as error:
        where = _crash_file(task_type, ctx)
        return taken.finish(
            results.failed(
                f"the task type '{task_type.name}' broke: {type(error).__name__}: {error}"
                f" (this is a fault of {task_type.path}; details in {where})"
            )
        )
    return taken.finish(_ended(values, taken))


class _Taken:
    """The changes a task type has yielded so far; they count even when it fails later."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.changes: list[str] = []
        self.diff: list[dict[str, Any]] = []
        self.unknown: str | None = None

    def drive(self, steps: Generator[Change, Any, dict[str, Any]] | dict[str, Any]) -> dict[str, Any]:
        if type(steps) is dict or not isinstance(steps, Generator):
            return dict(steps or {})
        answer: Any = None
        try:
            change = next(steps)
            while True:
                try:
                    answer = self._take(change)
                except BaseException as error:
                    change = steps.throw(error)
                else:
                    change = steps.send(answer)
        except StopIteration as stop:
            return dict(stop.value or {})
        finally:
            steps.close()

    def _take(self, change: Change) -> Any:
        if not self.ctx.check:
            answer = change.apply()
            self._note(change)
            return answer
        self._note(change)
        if change.unknown and self.unknown is None:
            self.unknown = change.unknown
        return None

    def _note(self, change: Change) -> None:
        self.changes.append(change.what)
        if self.ctx.diff and not (change.before is None and change.after is None):
            self.diff.append({"what": change.what, "before": change.before, "after": change.after})

    def finish(self, result: Result) -> Result:
        result.changes = self.changes
        result.diff = self.diff
        if self.changes and result.status in (Status.FAILED, Status.UNREACHABLE) and not self.ctx.check:
            result.values["changed"] = True
        return result.complete()


def _ended(values: dict[str, Any], taken: _Taken) -> Result:
    if taken.unknown is not None:
        return Result(Status.UNKNOWN, values, unknown=taken.unknown)
    if values.pop("skipped", False):
        return Result(Status.SKIPPED, {**values, "changed": False})
    if values.get("failed"):
        values.setdefault("msg", "the task failed")
        return Result(Status.FAILED, values)
    changed = bool(values.setdefault("changed", bool(taken.changes)))
    return Result(Status.CHANGED if changed else Status.OK, values)


_ERRNO_WORDS = {
    "ENOSPC": "no space left on the node",
    "EDQUOT": "the disk quota on the node is exhausted",
    "EROFS": "the file system on the node is read-only",
    "EIO": "the node's disk reports an input/output error",
}


def _node_message(error: NodeError) -> str:
    words = _ERRNO_WORDS.get(error.errno_name or "")
    if words is None or words in error.message:
        return error.message
    about = f" (writing {error.path})" if error.path and error.path not in error.message else ""
    return f"{words}{about}: {error.message}"


def _crash_file(task_type: TaskType, ctx: Context) -> str:
    folder = ctx.run_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"crash-{task_type.name}-{ctx.host}.txt"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(vault.hide(traceback.format_exc()))
    return str(path)
