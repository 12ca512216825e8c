"""The node of a task whose command is begun by whoever waits for many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, Unpack, cast

from labctl.engine import driver
from labctl.engine.session import SessionNode
from labctl.node.api import CommandOptions, Completed, Node
from labctl.node.asked import Asked

if TYPE_CHECKING:
    from labctl.engine.context import RunContext

T = TypeVar("T")


class PendingNode(SessionNode):
    """`begin` gets the first command, and driver.Pending is what becomes of it. What else is wanted of the host before
    raises Unasked, as does a command with a time limit or of more than `most` bytes; afterwards it is there."""

    def __init__(self, context: RunContext, begin: Callable[[Asked], Asked], most: int) -> None:
        connections, access = context.scopes.run.connections, context.access
        super().__init__(
            context.host,
            lambda: connections.node(access.settings, access.become),
            context.deadline,
            context.environment,
        )
        self._begin = begin
        self._most = most
        self._begun = False

    def run(self, argv: Sequence[str], **how: Unpack[CommandOptions]) -> Completed:
        if self._begun:
            return super().run(argv, **how)
        asked = Asked(argv, **self._here(how))
        if how.get("timeout") is not None or asked.size > self._most:
            raise driver.Unasked
        self._begun = True
        return cast("Completed", self._begin(asked))

    def _do(self, call: Callable[[Node], T]) -> T:
        if not self._begun:
            raise driver.Unasked
        return super()._do(call)
