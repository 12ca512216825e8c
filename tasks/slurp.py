"""Read a file of the host into a value. Returns content (base64), encoding, source, size."""

import base64
from dataclasses import dataclass
from typing import Any

from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    src: str = arg(doc="The file on the host.", aliases=("path",))


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    data = ctx.node.read(args.src)
    return {
        "content": base64.b64encode(data).decode(),
        "encoding": "base64",
        "source": args.src,
        "size": len(data),
    }
