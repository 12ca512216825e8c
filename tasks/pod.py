"""Deploy, delete or look at a pod on the node, from a Kubernetes v1 Pod manifest.

The manifest is a template. A pod that is already there as the manifest says is left alone; one made from
another manifest is deleted and made anew. The pod's address is the manifest's annotation `labctl/address`, or
the variable `pod_address`. Claims are folders below the variable `volume_path` (or `shared_volume`).

    - pod: {manifest: pod.yml, until: {step: 50, completed: [data-processor]}}
    - pod: {manifest: pod.yml, state: absent}
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from labctl.errors import PlaybookError, TaskFailed
from labctl.manifests import pod_of, volume
from labctl.pods.containerd import Containerd, spec_hash
from labctl.pods.model import Pod, PodStatus
from labctl.pods.runtime import Progress
from labctl.task_types import Args, Change, Context, Steps, arg


@dataclass(kw_only=True)
class Arguments(Args):
    manifest: str = arg(doc="the manifest file", free_form=True)
    state: Literal["deployed", "absent", "status"] = arg(
        "deployed", doc="'status' only looks, and fails when there is no such pod here"
    )
    patch: dict[str, Any] = arg({}, doc="a strategic merge patch of the manifest")
    env: dict[str, Any] = arg({}, doc="environment for every container")
    wait: bool = arg(True, doc="wait until every container runs (or has completed) and is ready")
    until: dict[str, Any] = arg(
        {}, doc="also wait until the service tells this progress: {step: 50, completed: [names]}"
    )
    progress: str = arg("/progress", doc="path of the service's progress, on the pod's first port")
    timeout: float = arg(60.0, doc="seconds to wait")
    grace: float | None = arg(None, doc="seconds between SIGTERM and SIGKILL (default: the manifest's)")
    logs: bool = arg(False, doc="return what the containers wrote")


def run(args: Arguments, ctx: Context) -> Steps:
    pod = pod_of(ctx, args.manifest, args.patch, args.env)
    runtime = Containerd(ctx.node_of, [ctx.host], lambda host: volume(ctx, host))
    if args.state == "absent":
        return (yield from _absent(args, ctx, runtime, pod))
    status = runtime.status(pod, ctx.host)
    if args.state == "status":
        if status is None:
            raise TaskFailed(f"pod {pod.name} is not on {ctx.host}")
        return _values(args, ctx, runtime, pod, status)
    if (
        status is None
        or status.spec != spec_hash(pod)
        or set(status.containers) != {c.name for c in pod.containers}
    ):
        status = yield Change(
            f"pod {pod.name}",
            lambda: _deploy(args, ctx, runtime, pod, replace=status is not None),
            before="another manifest" if status else "absent",
            after=f"{len(pod.containers)} containers at {pod.address or 'no address'}",
        )
        if status is None:
            return {"name": pod.name, "address": pod.address, "url": pod.url(args.progress)}
    if args.wait and not ctx.check:
        return _values(args, ctx, runtime, pod, _wait(args, ctx, runtime, pod))
    return _values(args, ctx, runtime, pod, status)


def _deploy(args: Arguments, ctx: Context, runtime: Containerd, pod: Pod, *, replace: bool) -> PodStatus:
    if replace:
        runtime.delete(pod, ctx.host, grace_seconds=args.grace)
    return runtime.apply(pod, ctx.host)


def _wait(args: Arguments, ctx: Context, runtime: Containerd, pod: Pod) -> PodStatus:
    progress = None
    if args.until:
        url = pod.url(args.progress)
        unknown = set(args.until) - {"step", "completed"}
        if url is None or unknown:
            raise PlaybookError(
                f"'until' of 'pod' does not know {', '.join(map(str, unknown))}"
                if unknown
                else f"pod {pod.name} has no address and port to ask for progress",
                mark=ctx.mark,
                hint="until: {step: 50, completed: [names]}",
            )
        step = args.until.get("step")
        completed = tuple(str(name) for name in args.until.get("completed") or ())
        progress = Progress(url, None if step is None else int(step), completed)
    return runtime.wait(pod, ctx.host, args.timeout, progress).status


def _absent(args: Arguments, ctx: Context, runtime: Containerd, pod: Pod) -> Steps:
    logs = runtime.all_logs(pod, ctx.host) if args.logs else {}
    if runtime.status(pod, ctx.host) is not None:
        yield Change(
            f"pod {pod.name}",
            lambda: runtime.delete(pod, ctx.host, grace_seconds=args.grace),
            before="deployed",
            after="absent",
        )
    return {"name": pod.name, **({"logs": logs} if args.logs else {})}


def _values(
    args: Arguments, ctx: Context, runtime: Containerd, pod: Pod, status: PodStatus
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": pod.name,
        "node": status.node,
        "address": status.address,
        "url": pod.url(args.progress),
        "containers": {name: dataclasses.asdict(one) for name, one in status.containers.items()},
    }
    return {**values, "logs": runtime.all_logs(pod, ctx.host)} if args.logs else values
