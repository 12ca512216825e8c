"""Paths of a node as users write them."""

from __future__ import annotations

from labctl.task_types import Context


def on_node(ctx: Context, path: str) -> str:
    """`path` with `~` and `$NAME` as the node's user has them; a round trip only where there is one."""
    if not path.startswith("~") and "$" not in path:
        return path
    (found,) = ctx.node.call("files", "expand", arguments=[path], environment=dict(ctx.environment))
    return str(found)
