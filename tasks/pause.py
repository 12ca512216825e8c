"""Stop for a while, or until someone answers; all hosts of the task share one pause.

A dry run does not stop. Where nobody can answer (no terminal) a prompt is passed over with a warning.
Returns start, stop, delta (whole seconds), user_input, echo, stdout.
"""

import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labctl import terminal
from labctl.task_types import Args, Context, arg

ON_CONTROLLER = True
WAITS = True


@dataclass(kw_only=True)
class Arguments(Args):
    seconds: float | None = arg(None, doc="How long.")
    minutes: float | None = arg(None, doc="How long, in minutes.")
    prompt: str | None = arg(None, doc="What to ask.")
    echo: bool = arg(True, doc="Show what is typed.")

    mutually_exclusive = (("seconds", "minutes"),)


@dataclass
class _Round:
    """One pause: the hosts it was for, when it ends, and what was answered."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    hosts: set[str] = field(default_factory=set)
    until: float = 0.0
    answer: str | None = None


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    start, began = _now(), time.monotonic()
    answer = ""
    if not ctx.check:
        rounds = ctx.shared.setdefault("pause", {})
        one = rounds.setdefault(str(ctx.mark), _Round())
        answer = _join(one, args, ctx)
    lasted = time.monotonic() - began
    shown = f"{round(lasted, 2)} seconds" if args.seconds is not None else f"{round(lasted / 60, 2)} minutes"
    return {
        "start": start,
        "stop": _now(),
        "delta": int(lasted),
        "user_input": answer,
        "echo": args.echo,
        "rc": 0,
        "stdout": f"Paused for {shown}",
        "stderr": "",
        "changed": False,
    }


def _now() -> str:
    return str(datetime.now())


def _join(one: _Round, args: Arguments, ctx: Context) -> str:
    length = max(1, int(args.seconds) if args.seconds is not None else int(args.minutes or 0) * 60)
    timed = args.seconds is not None or args.minutes is not None
    with one.lock:
        if not one.hosts or ctx.host in one.hosts:  # the task is reached again: a new pause
            one.hosts, one.until, one.answer = set(), time.monotonic() + length, None
        first = not one.hosts
        one.hosts.add(ctx.host)
        if not timed and one.answer is None:
            one.answer = _ask(args, ctx)
    if timed:
        if first:
            ctx.progress(args.prompt or f"pausing for {length:g} s")
        ctx.wait(max(0.0, one.until - time.monotonic()))
    return one.answer or ""


def _ask(args: Arguments, ctx: Context) -> str:
    prompt = args.prompt or "Press enter to continue, Ctrl-C to interrupt"
    if not sys.stdin.isatty():
        ctx.warn(f"no terminal to answer: {prompt}")
        return ""
    try:
        return terminal.line(f"{prompt}: ", hidden=not args.echo, check=lambda: ctx.wait(0))
    except EOFError:
        return ""
