"""Restart the host, and wait until it has started again and answers.

It has when its boot id is another one. Returns rebooted, elapsed (seconds).
"""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from typing import Any

from labctl.errors import HostKeyMismatch, NodeError, TaskFailed, Unreachable
from labctl.node.functions.identity import identity
from labctl.task_types import Args, Change, Context, Steps, arg

_PATHS = ["/sbin", "/bin", "/usr/sbin", "/usr/bin", "/usr/local/sbin"]
_PAUSE = 1.0


@dataclass(kw_only=True)
class Arguments(Args):
    msg: str = arg("Reboot initiated by Ansible", doc="What users of the host are told.")
    reboot_command: str | None = arg(None, doc="Another command than 'shutdown -r'.")
    reboot_timeout: float = arg(
        600.0, doc="Seconds for its start, and again for the test.", aliases=("reboot_timeout_sec",)
    )
    connect_timeout: float | None = arg(
        None, doc="Seconds between two attempts, at most.", aliases=("connect_timeout_sec",)
    )
    pre_reboot_delay: int = arg(0, doc="Seconds before it goes down.", aliases=("pre_reboot_delay_sec",))
    post_reboot_delay: int = arg(
        0, doc="Seconds before the first attempt afterwards.", aliases=("post_reboot_delay_sec",)
    )
    test_command: str = arg("whoami", doc="What has to succeed on the host before it counts as up.")
    boot_time_command: str | None = arg(None, doc="A command whose output differs after a start.")
    search_paths: list[str] = arg(_PATHS, doc="Where 'shutdown' is looked for.")


def run(args: Arguments, ctx: Context) -> Steps:
    before = ctx.node.call("identity", "identity")
    here = identity()
    if before["boot"] == here["boot"] and before["processes"] == here["processes"]:
        said = "Running reboot with local connection would reboot the control node."
        raise TaskFailed(said, elapsed=0, rebooted=False)
    began = time.monotonic()
    yield Change(f"restart of {ctx.host}", lambda: _restart(args, ctx, before))
    elapsed = 0 if ctx.check else int(time.monotonic() - began)
    return {"changed": True, "rebooted": True, "elapsed": elapsed}


def _restart(args: Arguments, ctx: Context, before: dict[str, Any]) -> None:
    mark = _boot_mark(args, ctx)
    argv = _command(args, ctx)
    delay = max(0, args.pre_reboot_delay)
    if args.reboot_command or delay % 60:  # shutdown waits whole minutes only
        ctx.wait(delay if args.reboot_command else delay % 60)
    try:
        done = ctx.node.run(argv, timeout=60.0, output=ctx.output)
    except Unreachable:
        pass  # it went down before it could answer
    else:
        if done.rc > 0:
            said = f"'{done.text().strip()}, {done.error_text().strip()}'"
            raise TaskFailed(f"Reboot command failed. Error was: {said}", rebooted=False)
    ctx.wait(max(0, args.post_reboot_delay))
    _until(args, ctx, "last boot time check", lambda: _is_another(args, ctx, before, mark))
    _until(args, ctx, "post-reboot test command", lambda: _succeeds(args, ctx))


def _command(args: Arguments, ctx: Context) -> list[str]:
    if args.reboot_command:
        argv = shlex.split(args.reboot_command)
        if not argv:
            raise TaskFailed("'reboot_command' is empty")
    else:
        argv = [
            "shutdown",
            "-r",
            f"+{args.pre_reboot_delay // 60}" if args.pre_reboot_delay >= 60 else "now",
            args.msg,
        ]
    if argv[0].startswith("/"):
        return argv
    for folder in args.search_paths:
        path = os.path.join(folder, argv[0])
        if ctx.node.stat(path, follow=True) is not None:
            return [path, *argv[1:]]
    raise TaskFailed(
        f'Unable to find command "{argv[0]}" in search paths: {args.search_paths}', rebooted=False
    )


def _boot_mark(args: Arguments, ctx: Context) -> str | None:
    if args.boot_time_command is None:
        return None
    done = ctx.node.run(["/bin/sh", "-c", args.boot_time_command], timeout=30.0)
    if done.rc:
        raise TaskFailed(f"'boot_time_command' failed: {done.error_text().strip()}", rc=done.rc)
    return done.text().strip()


def _is_another(args: Arguments, ctx: Context, before: dict[str, Any], mark: str | None) -> str | None:
    if mark is not None:
        return None if _boot_mark(args, ctx) != mark else "boot time has not changed"
    now = ctx.node.call("identity", "identity")
    return (
        None
        if now["boot"] != before["boot"] or now["started"] != before["started"]
        else "boot time has not changed"
    )


def _succeeds(args: Arguments, ctx: Context) -> str | None:
    done = ctx.node.run(["/bin/sh", "-c", args.test_command], timeout=args.reboot_timeout)
    return f"it ended with status {done.rc}: {done.error_text().strip()}" if done.rc else None


def _until(args: Arguments, ctx: Context, what: str, attempt: Any) -> None:
    """Try until the attempt has no complaint. TaskFailed when time is up."""
    began = time.monotonic()
    while True:
        try:
            complaint = attempt()
        except HostKeyMismatch:
            raise
        except (Unreachable, NodeError) as error:
            complaint = error.message
        if complaint is None:
            return
        elapsed = time.monotonic() - began
        if elapsed >= args.reboot_timeout:
            said = f"Timed out waiting for {what} (timeout={args.reboot_timeout:g}): {complaint}"
            raise TaskFailed(said, rebooted=True, elapsed=int(elapsed))
        ctx.progress(f"waiting for {ctx.host}: {complaint}", min(1.0, elapsed / args.reboot_timeout))
        ctx.wait(min(_PAUSE, args.connect_timeout or _PAUSE))
