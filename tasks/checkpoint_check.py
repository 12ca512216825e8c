"""Try whether this node can checkpoint and restore containers.

CRIU dumps and restores a process that holds a TCP listener and an open connection; the answer is remembered
for the node's boot. A node that cannot is no failure: the task returns why.

    - checkpoint_check: {}
      register: checkpoint        # supported (bool), reason
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.errors import TaskFailed
from labctl.pods.containerd import Containerd
from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    required: bool = arg(False, doc="fail when the node cannot")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    if ctx.check:
        return {"supported": None, "reason": None, "msg": "a dry run does not try it"}
    runtime = Containerd(ctx.node_of, [ctx.host], lambda _host: "")
    reason = runtime.checkpoint_refusal(ctx.host)
    if reason and args.required:
        raise TaskFailed(f"{ctx.host} cannot checkpoint and restore containers: {reason}", mark=ctx.mark)
    return {"supported": reason is None, "reason": reason, "msg": reason or "it can"}
