"""Read a file of the host into a value. Returns content (base64), encoding, source."""

import base64
from dataclasses import dataclass
from typing import Any

from labctl.errors import NodeError, TaskFailed
from labctl.task_types import Args, Context, arg


@dataclass(kw_only=True)
class Arguments(Args):
    src: str = arg(doc="The file on the host.", aliases=("path",))


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    reasons = {
        "ENOENT": "File not found",
        "EACCES": "File is not readable",
        "EISDIR": "Source is a directory and must be a file",
    }
    try:
        data = ctx.node.read(args.src)
    except NodeError as error:
        if error.errno_name in reasons:
            raise TaskFailed(f"{reasons[error.errno_name]}: {args.src}") from None
        raise
    return {"content": base64.b64encode(data).decode(), "encoding": "base64", "source": args.src}
