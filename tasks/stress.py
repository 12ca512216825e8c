"""Load a node, or a container on it, and say what the load did: work a second, CPU, errors with their errno.

    cpu        arithmetic on `workers` processors (default: all) for a share of the time, `load`; `method` integer or matrix
    memory     `size` bytes that are touched and held, by `step` bytes `every` so many seconds where given
    disk       `size` bytes in `path`, written, made durable (`fsync`) or past the cache (`direct`), read back and compared (`verify`),
               again and again; in blocks of `block` bytes, at most `rate` bytes a second
    network    bytes to a sink that is started on the host `to` (by its `address`, default: ansible_host), at most `rate` a second
    pids, fds  `count` processes or open files; `max`: until the kernel refuses, which is then no failure

A bare value means `load`, `size`, `size`, `to` or `count`; each takes `workers`, and amounts are for each worker. With `pod` the
load is held to that container's limits and counted with it: its workers join the container's cgroups (v1 and v2), and
disk files are in its file system; the image needs no Python. Its traffic is the node's own. What the node cannot give is
refused before it begins.

In the foreground it lasts `duration` seconds, and fails when a worker is refused something or dies; under `async` other
tasks go on meanwhile. With `background` it goes on until `state: stopped` or the end of the run. Its workers end with the task, the run or the
connection, however those end, and its files with them. The lines go into a file of the run's folder (docs/architecture.md).
Returns `stressors` (by name: unit, work, per_second, held, cores, workers), `cpu_seconds`, `errors`, `deaths`, `oom_kills`.

    - stress: {cpu: {workers: 2, load: 50%}, memory: 256Mi, duration: 10}
    - stress: {pod: notebook, container: kernel, memory: {size: 600Mi, step: 32Mi, every: 0.2}, duration: 20}
    - stress: {cpu: 50%, network: {to: worker2, rate: 20M}, background: true}
    - stress: {state: stopped}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labctl.errors import PlaybookError, TaskFailed, did_you_mean
from labctl.measure.load import what_went_wrong
from labctl.running import not_started, stop_with_run
from labctl.stress.background import parse, processors, stressors
from labctl.stress.session import Session, summary
from labctl.stress.wanted import KINDS, plan_of, share
from labctl.task_types import Args, Change, Context, Steps, arg


def _reserve(text: str) -> float:
    if text.strip() in ("0", "0%"):
        return 0.0
    try:
        return share(text)
    except ValueError:
        raise PlaybookError(f"'reserve' of 'stress' must be a share such as 5%, not '{text}'") from None


def _kind(name: str) -> Callable[[Any], object]:
    return lambda value: plan_of({name: value})


@dataclass(kw_only=True)
class Arguments(Args):
    cpu: Any = arg(
        None, doc="load of each processor, as in 50%, or {load, workers, method}", check=_kind("cpu")
    )
    memory: Any = arg(None, doc="bytes as in 256Mi, or {size, workers, step, every}", check=_kind("memory"))
    disk: Any = arg(
        None,
        doc="bytes as in 64Mi, or {size, workers, path, block, direct, fsync, verify, rate}",
        check=_kind("disk"),
    )
    network: Any = arg(
        None, doc="the host to send to, or {to, workers, address, rate}", check=_kind("network")
    )
    pids: Any = arg(None, doc="how many processes, or max, or {count, workers}", check=_kind("pids"))
    fds: Any = arg(None, doc="how many open files, or max, or {count, workers}", check=_kind("fds"))
    load: str | None = arg(
        None,
        doc="all of it in one line: cpu:50%[,memory:256M][,disk][,network], for each host of `among`",
        check=parse,
    )
    among: list[str] = arg(
        [], doc="hosts that get the same `load`: they share processors, and send to one another"
    )
    state: Literal["started", "stopped"] = arg("started", doc="whether it is to run")
    background: bool = arg(False, doc="start it and go on with the next task")
    duration: float | None = arg(None, doc="seconds; in the background it may be left out")
    pod: str | None = arg(None, doc="run within a container of this pod")
    container: str | None = arg(None, doc="which one, where the pod has several")
    engine: Literal["own", "stress-ng"] = arg(
        "own", doc="stress-ng, where it is installed, for cpu and memory"
    )
    reserve: str = arg(
        "5%",
        doc="share of the node's memory, and of the disk, that is left alone; 0 fills the disk",
        check=_reserve,
    )
    interval: float = arg(0.5, doc="seconds between two lines of its file")
    name: str = arg("stress", doc="what to call it, to run several on a host")
    dest: str | None = arg(None, doc="its file on the controller, within the run's folder unless absolute")

    mutually_exclusive = tuple(("load", kind) for kind in KINDS)


def run(args: Arguments, ctx: Context) -> Steps:
    running: dict[tuple[str, str], Session | None] = ctx.shared.setdefault("stress", {})
    key = (ctx.host, args.name)
    if args.state == "stopped":
        return (yield from _stopped(args, ctx, running, key))
    given = {kind: getattr(args, kind) for kind in KINDS if getattr(args, kind) is not None}
    _check(args, ctx, given)
    if (session := running.get(key)) or (key in running and ctx.check):
        return {"name": args.name, "path": str(session.path) if session else None}
    path = _file(args, ctx)
    said = args.load or ", ".join(f"{kind} {_short(value)}" for kind, value in given.items())
    what = f"load of {said}" + (f" in pod {args.pod}" if args.pod else "")
    if not args.background:
        return (
            yield Change(
                what, lambda: _foreground(args, ctx, given, path), unknown="a load is not run in a dry run"
            )
        ) or {}
    running[key] = yield Change(what, lambda: _background(args, ctx, given, path), before="none", after=said)
    return {"name": args.name, "path": str(path)}


def _check(args: Arguments, ctx: Context, given: Mapping[str, Any]) -> None:
    """PlaybookError for whatever can be known to be wrong before a node is asked."""
    try:
        hosts = args.among
        if args.load is None and not given:
            raise PlaybookError(f"'stress' needs one of: {', '.join(KINDS)}, load")
        if args.load is None:
            hosts = [plan["network"]["to"]] if "network" in (plan := plan_of(given, args.engine)) else []
        if args.duration is None and not args.background:
            raise PlaybookError("'stress' needs 'duration' in seconds, or 'background'")
        if args.duration is not None and args.duration <= 0:
            raise PlaybookError("'duration' of 'stress' must be more than 0 seconds")
        if args.container and not args.pod:
            raise PlaybookError("'container' of 'stress' needs 'pod'")
        for host in hosts:
            ctx.vars_of(host)
    except PlaybookError as error:
        raise PlaybookError(error.message, mark=error.mark or ctx.mark, hint=error.hint) from None


def _short(value: Any) -> str:
    return (
        ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, Mapping) else str(value)
    )


def _file(args: Arguments, ctx: Context) -> Path:
    if args.dest:
        return ctx.run_dir / args.dest
    path, number = ctx.run_dir / f"{args.name}-{ctx.host}.jsonl", 1
    while path.exists():  # a task in the foreground may be repeated: what it measured before is kept
        number += 1
        path = ctx.run_dir / f"{args.name}-{ctx.host}-{number}.jsonl"
    return path


def _begin(args: Arguments, ctx: Context, given: Mapping[str, Any], path: Path) -> Session:
    asked: dict[str, Any] = dict(given)
    if args.load is not None:
        among = args.among or [ctx.host]
        machines = {host: ctx.node_of(host).call("stress", "machine") for host in {*among, ctx.host}}
        given = stressors(parse(args.load), ctx.host, among, machines)
        asked = {"load": args.load, "among": among, "processors": processors(ctx.host, machines)}
    plan = plan_of(given, args.engine)
    sink = None
    if network := plan.get("network"):
        address = network.pop("address") or ctx.vars_of(network["to"]).get("ansible_host") or network["to"]
        sink = (ctx.node_of(network["to"]), str(address))
    arguments = {
        "plan": plan,
        "asked": asked,
        "engine": args.engine,
        "interval": args.interval,
        "seconds": args.duration,
        "reserve": _reserve(args.reserve),
        "inside": _process_of(args, ctx) if args.pod else None,
    }
    return Session(ctx.node, arguments, path, args.name, to=sink)


def _process_of(args: Arguments, ctx: Context) -> int:
    """A process of the container, in whose cgroups the load is to be. TaskFailed when it does not run."""
    status = ctx.node.call("pods", "status", pod=args.pod)
    if status is None:
        raise TaskFailed(f"pod {args.pod} is not on {ctx.host}")
    found = {one["name"]: one for one in status["containers"]}
    name = args.container or (next(iter(found)) if len(found) == 1 else None)
    if name not in found:
        said = (
            f"pod {args.pod} has no container '{name}'" if name else f"pod {args.pod} has several containers"
        )
        hint = did_you_mean(str(name), found) or f"its containers: {', '.join(found)}"
        raise TaskFailed(said, mark=ctx.mark, hint=hint)
    if found[name]["pid"] is None:
        raise TaskFailed(
            f"container {name} of pod {args.pod} on {ctx.host} does not run: it is {found[name]['state']}"
        )
    return int(found[name]["pid"])


def _foreground(args: Arguments, ctx: Context, given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    session = _begin(args, ctx, given, path)
    try:
        while session.running:
            ctx.wait(0.05)
    except BaseException:
        session.abandon()
        raise
    return _told(ctx, session)


def _background(args: Arguments, ctx: Context, given: Mapping[str, Any], path: Path) -> Session:
    session = _begin(args, ctx, given, path)
    kept = f"its lines are in {path.name}"
    stop_with_run(ctx, ctx.shared["stress"], "load", args.name, stop=session.stop, kept=kept)
    return session


def _stopped(
    args: Arguments, ctx: Context, running: dict[tuple[str, str], Session | None], key: tuple[str, str]
) -> Steps:
    if key not in running or (running[key] is None and not ctx.check):  # None: only a dry run has started it
        raise not_started(ctx, running, "load", args.name)
    session = running.pop(key)
    return (
        yield Change(f"load {args.name}", lambda: _told(ctx, session), before="started", after="none")
    ) or {}


def _told(ctx: Context, session: Session | None) -> dict[str, Any]:
    """What it did. TaskFailed, with all of it, when that was not what was asked for."""
    assert session is not None
    load = session.stop()
    values = {**summary(load), "path": str(session.path)}
    if wrong := what_went_wrong(load):
        raise TaskFailed(f"the load on {ctx.host} was not what was asked for: {wrong}", **values)
    return values
