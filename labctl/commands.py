"""What the task types that run commands share: their values and their dry run."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from labctl.errors import NodeError, TaskFailed, TaskTimeout
from labctl.node.api import Completed
from labctl.task_types import Change, Context

# Words without a backslash: shlex reads every character in Python.
_WORD = re.compile(r"""(?:[^ \t\r\n'"\\]+|"[^"\\]*"|'[^'\\]*')+""")
_SIMPLE_LINE = re.compile(rf"(?:[ \t\r\n]*{_WORD.pattern})*+[ \t\r\n]*")
_PIECE = re.compile(r"""([^ \t\r\n'"]+)|"([^"]*)"|'([^']*)'""")


def values(done: Completed, command: Any, *, strip: bool = True) -> dict[str, Any]:
    """A finished command as Ansible's command returns it; `failed` when its exit status is not 0. Times
    are of the node's clock, in UTC; `strip` takes the newlines off the ends of the output."""
    out, err = done.text(), done.error_text()
    if strip:
        out, err = out.rstrip("\r\n"), err.rstrip("\r\n")
    found: dict[str, Any] = {
        "cmd": command,
        "rc": done.rc,
        "stdout": out,
        "stdout_lines": out.splitlines(),
        "stderr": err,
        "stderr_lines": err.splitlines(),
        "start": _time(done.start),
        "end": _time(done.end),
        "delta": str(timedelta(seconds=max(0.0, done.end - done.start))),
        "changed": True,
    }
    if done.timed_out:
        raise TaskTimeout(
            f"the command was killed after {done.end - done.start:.1f} s", **found, timedout=True
        )
    found["msg"] = ""
    if done.rc:
        found["failed"] = True
        found["msg"] = f"killed by signal {-done.rc}" if done.rc < 0 else "non-zero return code"
    return found


def _time(seconds: float) -> str:
    whole, part = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(whole)}.{part:06}"


@lru_cache(maxsize=64)  # many commands begin and end in the same
def _second(number: int) -> str:
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%d %H:%M:%S")


def words(line: str) -> list[str]:
    """A command line split as a shell would. TaskFailed for a quote that is not closed."""
    return list(_split(line))


@lru_cache(maxsize=256)  # it is the same on many hosts
def _split(line: str) -> tuple[str, ...]:
    if _SIMPLE_LINE.fullmatch(line):
        return tuple("".join(map("".join, _PIECE.findall(word))) for word in _WORD.findall(line))
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise TaskFailed(f"the command line cannot be split: {str(error).lower()}: {line}") from None


def unnecessary(reason: str, command: Any) -> dict[str, Any]:
    """The values of a command that `creates` or `removes` made unnecessary."""
    said = f"skipped, since {reason}"
    return {
        "cmd": command,
        "rc": 0,
        "stdout": said,
        "stdout_lines": [said],
        "stderr": "",
        "stderr_lines": [],
        "start": None,
        "end": None,
        "delta": None,
        "msg": f"Did not run command since {reason}",
        "changed": False,
    }


def run(
    ctx: Context,
    command: Any,
    start: Callable[[], Completed],
    *,
    creates: str | None = None,
    removes: str | None = None,
    strip: bool = True,
    on_node: bool = True,
    chdir: str | None = None,
    written: Sequence[str | None] = (),
) -> Generator[Change, Any, dict[str, Any]]:
    """Run it, or in a dry run say that its effect is unknown unless `creates`/`removes` decide (which
    needs an agent: `on_node`). `written`: these two as the task has them, below `chdir`. `start` must itself
    leave it out when they make it unnecessary."""
    if ctx.check and on_node:
        for glob, there in ((creates, True), (removes, False)):
            if glob and bool(ctx.node.call("files", "matches", pattern=glob)) is there:
                reason = f"{glob} {'exists' if there else 'does not exist'}"
                return unnecessary(_as_written(reason, chdir, written), command)
    if ctx.job is not None:
        ctx.job.command, ctx.job.strip = command, strip
    text = command if isinstance(command, str) else " ".join(map(str, command))
    short = _short(text)
    change = Change(f"run {short}", start, unknown=f"'{short}' is not run in a dry run")
    try:
        done: Completed | None = yield change
    except NodeError as error:
        return _not_started(error, command, chdir)
    if done is None:
        return {"cmd": command}
    if done.skipped:
        return unnecessary(_as_written(done.skipped, chdir, written), command)
    return values(done, command, strip=strip)


class Wanted(Protocol):
    """The arguments that `command` and `shell` have in common."""

    chdir: str | None
    creates: str | None
    removes: str | None
    stdin: str | None
    stdin_add_newline: bool
    strip_empty_ends: bool


def run_wanted(
    ctx: Context, args: Wanted, command: Any, words: Callable[[], Sequence[str]]
) -> Generator[Change, Any, dict[str, Any]]:
    """Run `words` (asked for when it is sure that they run) as these arguments say; `command` is how the task
    has it."""
    stdin = args.stdin or ""
    if args.stdin is not None and args.stdin_add_newline:
        stdin += "\n"
    creates, removes = below(args.chdir, args.creates), below(args.chdir, args.removes)

    def start() -> Completed:
        return ctx.node.run(
            words(),
            stdin=stdin.encode(),
            cwd=args.chdir,
            output=ctx.output,
            creates=creates,
            removes=removes,
        )

    return (
        yield from run(
            ctx,
            command,
            start,
            creates=creates,
            removes=removes,
            strip=args.strip_empty_ends,
            chdir=args.chdir,
            written=(args.creates, args.removes),
        )
    )


def must(ctx: Context, argv: Sequence[str], *, stdin: bytes = b"", **values: Any) -> Completed:
    """Run a program that has to succeed: TaskFailed with its own last words, and these values, when it does not.
    A program that is not there fails the same way."""
    try:
        done = ctx.node.run(argv, stdin=stdin, timeout=ctx.timeout, output=ctx.output)
    except NodeError as error:
        if error.errno_name != "ENOENT":
            raise
        raise TaskFailed(f"{ctx.host} has no program '{argv[0]}'", **values) from None
    if done.timed_out:
        raise TaskTimeout(
            f"'{_short(' '.join(argv))}' did not end within {done.end - done.start:.0f} s", **values
        )
    if done.rc:
        said = (
            done.error_text().strip() or done.text().strip()
        ) or f"'{argv[0]}' ended with status {done.rc}"
        raise TaskFailed(said, rc=done.rc, **values)
    return done


def spoken(done: Completed | None) -> dict[str, Any]:
    """What a program said, as Ansible's task types return it; nothing where it said nothing."""
    found: dict[str, Any] = {}
    for name, text in (("stdout", done.text()), ("stderr", done.error_text())) if done else ():
        if text:
            found |= {name: text, f"{name}_lines": text.splitlines()}
    return found


def _as_written(reason: str, chdir: str | None, written: Sequence[str | None]) -> str:
    """A reason that names a path as it stands in the task, below the folder the command runs in or not."""
    for name in written:
        if name and chdir and reason.startswith(f"{(path := below(chdir, name))} "):
            return f"{name}{reason.removeprefix(str(path))}"
    return reason


def _not_started(error: NodeError, command: Any, chdir: str | None) -> dict[str, Any]:
    """The values of a command that could not be started: its folder, or its program, is not there."""
    said: dict[str, Any] = {
        "stdout": "",
        "stdout_lines": [],
        "stderr": "",
        "stderr_lines": [],
        "changed": False,
    }
    if chdir is not None and error.path == chdir:
        reason = f"Unable to change directory before execution: {error.message}"
        return {
            "cmd": command,
            "rc": None,
            "start": None,
            "end": None,
            "delta": None,
            "msg": reason,
            "failed": True,
            **said,
        }
    line = command if isinstance(command, str) else shlex.join(command)
    return {"cmd": line, "rc": 2, "msg": f"Error executing command: {error.message}", "failed": True, **said}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "…"


def below(folder: str | None, path: str | None) -> str | None:
    """A path as seen from `folder`, where the command runs."""
    return os.path.join(folder, path) if folder and path else path
