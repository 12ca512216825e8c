"""Runs one task type against one context: applies its changes, or in a dry run only lists them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from labctl import vault
from labctl.engine import results
from labctl.engine.results import Result
from labctl.errors import Interrupted, LabctlError, NodeError, TaskFailed
from labctl.events import Status
from labctl.node.asked import Asked
from labctl.task_types import Args, Change, Context, Skip, Steps, TaskType


class Detached(Exception):
    """The task goes on by itself on its host: `path` is the job's file there."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Pending(Exception):
    """Passes through `execute` where the context's node has asked for a command instead of running it: `answer` is
    what was asked, and the rest of the task type is for `go_on`, once the last of it has come."""

    def __init__(self, answer: Asked, go_on: Callable[[], Result]) -> None:
        super().__init__()
        self.answer = answer
        self.go_on = go_on


class Unasked(Exception):
    """Passes through `execute` where the task type wants more of the context's node than to ask for a command."""


def execute(task_type: TaskType, args: Args, ctx: Context) -> Result:
    """Every way a task type can end becomes a Result; only Interrupted, Detached, Pending and Unasked pass through.

    `changed` is what the task type returned under that name, else whether it yielded a change."""
    taken = _Taken(task_type, ctx)
    return taken.conclude(taken.drive, args)


class _Taken:
    """The changes a task type has yielded so far; they count even when it fails later."""

    def __init__(self, task_type: TaskType, ctx: Context) -> None:
        self.task_type = task_type
        self.ctx = ctx
        self.changes: list[str] = []
        self.diff: list[dict[str, Any]] = []
        self.unknown: str | None = None

    def conclude(self, work: Callable[..., dict[str, Any]], *given: Any) -> Result:
        try:
            values = work(*given)
        except Skip as skip:
            return results.skipped(str(skip) or "the task had nothing to do")
        except (Interrupted, Detached, Pending, Unasked):
            raise
        except TaskFailed as error:
            return self._finish(results.of_error(error, error.values))
        except NodeError as error:
            return self._finish(results.failed(_node_message(error)))
        except LabctlError as error:
            return self._finish(results.of_error(error))
        except Exception as error:
            where = _crash_file(self.task_type, self.ctx)
            return self._finish(
                results.failed(
                    f"the task type '{self.task_type.name}' broke: {type(error).__name__}: {error}"
                    f" (this is a fault of {self.task_type.path}; details in {where})"
                )
            )
        return self._finish(_ended(values, self))

    def drive(self, args: Args) -> dict[str, Any]:
        steps = self.task_type.run(args, self.ctx)
        if type(steps) is dict or not isinstance(steps, Generator):
            return dict(steps or {})
        return self._drive(steps, lambda: next(steps))

    def _drive(self, steps: Steps, advance: Callable[[], Change]) -> dict[str, Any]:
        waiting = False
        try:
            change = advance()
            while True:
                change = self._next(steps, change, partial(self._take, change))
        except StopIteration as stop:
            return dict(stop.value or {})
        except Pending:
            waiting = True
            raise
        finally:
            if not waiting:
                steps.close()

    def _next(self, steps: Steps, change: Change, take: Callable[[], Any]) -> Change:
        """Tell the steps what became of a change; the one after it."""
        try:
            answer = take()
        except BaseException as error:
            return steps.throw(error)
        if type(answer) is Asked:
            raise Pending(answer, partial(self._go_on, steps, change, answer))
        self._note(change)
        return steps.send(answer)

    def _go_on(self, steps: Steps, change: Change, answer: Asked) -> Result:
        return self.conclude(self._drive, steps, lambda: self._next(steps, change, answer.completed))

    def _take(self, change: Change) -> Any:
        if not self.ctx.check:
            return change.apply()
        if change.unknown and self.unknown is None:
            self.unknown = change.unknown
        return None

    def _note(self, change: Change) -> None:
        self.changes.append(change.what)
        if self.ctx.diff and not (change.before is None and change.after is None):
            self.diff.append({"what": change.what, "before": change.before, "after": change.after})

    def _finish(self, result: Result) -> Result:
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
