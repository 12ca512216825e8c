"""Start or stop a collector: a program that measures on the node while other tasks run.

Its lines go straight into a file of the run's folder. A collector is one file in `collectors/`, beside the
playbook or built in (`cgroup` samples containers, `probe` asks a URL), or a path. Whatever still runs
when the run ends is stopped then.

    - collect: {collector: cgroup, args: {interval: 0.1, pod: tensorflow-ai-workload}}
    - collect: {collector: cgroup, state: stopped}
      register: measured      # samples, late, missed, cpu_seconds, overhead (% of a core), path
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labctl.node.collection import Collection, command_line, find_collector
from labctl.running import not_started, stop_with_run
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    collector: str = arg(doc="name of a collector, or the path of its program", free_form=True)
    state: Literal["started", "stopped"] = arg("started", doc="whether it is to run")
    name: str | None = arg(None, doc="what to call it, to run one collector several times on a host")
    args: dict[str, Any] = arg(
        {}, doc="its arguments: {interval: 0.1} becomes --interval 0.1; lists repeat the option"
    )
    dest: str | None = arg(
        None, doc="the file on the controller, within the run's folder unless absolute", aliases=["path"]
    )


def run(args: Arguments, ctx: Context) -> Steps:
    program = find_collector(args.collector, ctx.playbook_dir)
    name = args.name or program.stem
    running: dict[tuple[str, str], Collection | None] = ctx.shared.setdefault("collect", {})
    key = (ctx.host, name)
    path = ctx.run_dir / (args.dest or f"{name}-{ctx.host}.jsonl")
    if args.state == "started":
        if key in running:
            return {"path": str(path), "name": name}
        started = yield Change(
            f"collector {name}",
            lambda: _start(ctx, program, args.args, path, name),
            before="stopped",
            after=" ".join([args.collector, *command_line(args.args)]),
        )
        running[key] = started
        return {"path": str(path), "name": name}
    if key not in running:
        raise not_started(ctx, running, "collector", name)
    collection = running.pop(key)
    values = yield Change(f"collector {name}", lambda: _stop(collection), before="started", after="stopped")
    return values or {}


def _start(ctx: Context, program: Path, arguments: dict[str, Any], path: Path, name: str) -> Collection:
    collection = Collection(ctx.node, program, arguments, path, name=name)
    kept = f"its samples are in {path.name}"
    stop_with_run(ctx, ctx.shared["collect"], "collector", name, stop=collection.stop, kept=kept)
    return collection


def _stop(collection: Collection | None) -> dict[str, Any]:
    assert collection is not None
    return {**dataclasses.asdict(collection.stop()), "path": str(collection.path)}
