"""Wait on the host for a port or a path.

`state`: `started`/`present` (it answers, it is there, and with `search_regex` says or holds the text),
`stopped`/`absent`, `drained` (no connection to the port is left). The host itself looks every `sleep` seconds, all
in one round trip. In a dry run it looks once and does not wait. Without port and path it waits `timeout`
seconds. Returns elapsed (seconds), port, path, state, match_groups, match_groupdict.
"""

import re
from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.task_types import Args, Change, Context, Steps, arg

# As the kernel numbers them in /proc/net/tcp.
_STATES = {
    "ESTABLISHED": "01",
    "FIN_WAIT1": "04",
    "FIN_WAIT2": "05",
    "SYN_RECV": "03",
    "SYN_SENT": "02",
    "TIME_WAIT": "06",
}


@dataclass(kw_only=True)
class Arguments(Args):
    host: str = arg("127.0.0.1", doc="The address whose port is meant, as the host sees it.")
    port: int | None = arg(None, doc="A TCP port.")
    path: str | None = arg(None, doc="A file or directory of the host.")
    search_regex: str | None = arg(None, doc="A text that the file holds, or that the port says first.")
    state: str = arg(
        "started",
        doc="What to wait for.",
        choices=("present", "started", "absent", "stopped", "drained"),
    )
    timeout: float = arg(300.0, doc="Give up after this many seconds.")
    delay: float = arg(0.0, doc="Seconds before the first look.")
    sleep: float = arg(1.0, doc="Seconds between two looks.")
    connect_timeout: float = arg(5.0, doc="Seconds one connection may take.")
    exclude_hosts: list[str] | None = arg(None, doc="Addresses whose connections do not count for `drained`.")
    active_connection_states: list[str] = arg(
        list(_STATES), doc="Which states of a connection count for `drained`."
    )
    msg: str | None = arg(None, doc="What to say when it does not happen.")

    mutually_exclusive = (("port", "path"),)


def run(args: Arguments, ctx: Context) -> Steps:
    if args.port is None and args.path is None:
        if args.state == "drained" or args.search_regex:
            raise TaskFailed("it needs a port or a path")
        yield Change(
            f"wait of {args.timeout:g} s", lambda: ctx.wait(args.timeout), unknown="a dry run does not wait"
        )
        return _values(args, args.timeout, {"match_groups": [], "match_groupdict": {}})
    _check(args)
    try:
        re.compile(args.search_regex or "")
    except re.error as error:
        raise TaskFailed(f"'{args.search_regex}' is not a regular expression: {error}") from None
    what = _what(args)
    if ctx.check:
        found = _look(args, ctx, timeout=0.0, delay=0.0)
        if not found["reached"]:
            reason = f"{found['detail']} now, and a dry run does not wait"
            yield Change(f"wait for {what}", lambda: None, unknown=reason)
    else:
        ctx.progress(f"waiting for {what}")
        found = _look(args, ctx, timeout=args.timeout, delay=args.delay)
    values = _values(args, found["elapsed"], found)
    if not found["reached"] and not ctx.check:
        said = f"after {args.timeout:g} s: {found['detail']}"
        raise TaskFailed(args.msg or f"timed out waiting for {what} {said}", elapsed=values["elapsed"])
    return values


def _check(args: Arguments) -> None:
    if args.path and args.state in ("stopped", "drained"):
        raise TaskFailed(f"state={args.state} should only be used for checking a port", elapsed=0)
    if args.exclude_hosts is not None and args.state != "drained":
        raise TaskFailed("exclude_hosts should only be with state=drained", elapsed=0)
    for state in args.active_connection_states:
        if state not in _STATES:
            raise TaskFailed(f"unknown active_connection_state ({state}) defined", elapsed=0)


def _values(args: Arguments, elapsed: float, found: dict[str, Any]) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in ("state", "port", "path", "search_regex")}
    groups = {name: found[name] for name in ("match_groups", "match_groupdict")}
    return {"elapsed": int(elapsed), **given, **found.get("about", {}), **groups, "changed": False}


def _what(args: Arguments) -> str:
    name = f"{args.host}:{args.port}" if args.port is not None else str(args.path)
    if args.state == "drained":
        return f"the last connection to {name} to end"
    if args.state in ("absent", "stopped"):
        return f"{name} to go"
    says = (
        f" and {'say' if args.port is not None else 'hold'} '{args.search_regex}'"
        if args.search_regex
        else ""
    )
    return f"{name} to {'answer' if args.port is not None else 'be there'}{says}"


def _look(args: Arguments, ctx: Context, *, timeout: float, delay: float) -> dict[str, Any]:
    answer: dict[str, Any] = ctx.node.call(
        "waiting",
        "wait_for",
        host=args.host,
        port=args.port,
        path=args.path or "",
        search_regex=args.search_regex,
        state=args.state,
        timeout=timeout,
        delay=delay,
        sleep=args.sleep,
        connect_timeout=args.connect_timeout,
        exclude_hosts=args.exclude_hosts or [],
        states=[_STATES[state] for state in args.active_connection_states],
    )
    return answer
