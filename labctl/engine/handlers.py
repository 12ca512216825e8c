"""Which handlers a play has, and which of them each host waits for."""

from __future__ import annotations

from collections.abc import Sequence

from labctl.engine.state import HostState
from labctl.errors import LabctlError, Mark, PlaybookError, did_you_mean
from labctl.playbook.tree import Handler, Play, select_handlers
from labctl.variables import Scope
from labctl.yaml import Text


class Handlers:
    """The handlers of one batch; roles included during the run add theirs."""

    def __init__(self, play: Play) -> None:
        self._all: list[Handler] = list(play.handlers())
        self._waiting: dict[str, dict[int, str | None]] = {}

    def add(self, handlers: Sequence[Handler]) -> None:
        known = {(handler.mark, handler.name) for handler in self._all}
        self._all.extend(handler for handler in handlers if (handler.mark, handler.name) not in known)

    def notify(
        self, host: HostState, name: str, scope: Scope, mark: Mark | None, uncertain: str | None
    ) -> list[Handler]:
        """Note that `host` waits for the handlers of this name or topic; they come back. `uncertain` (dry
        run) names the task that may not have notified at all. PlaybookError when there is no such handler."""

        def render(text: str) -> str:
            try:
                return scope.template(text) if isinstance(text, Text) else text
            except LabctlError:
                return text

        found = select_handlers(self._all, name, render)
        if not found:
            names = [str(n) for handler in self._all for n in (handler.name, *handler.listen) if n]
            raise PlaybookError(f"there is no handler '{name}'", mark=mark, hint=did_you_mean(name, names))
        waiting = self._waiting.setdefault(host.name, {})
        for handler in found:
            if uncertain is None or id(handler) not in waiting:
                waiting[id(handler)] = uncertain
        return found

    def waits(self, host: HostState, handler: Handler) -> bool:
        return id(handler) in self._waiting.get(host.name, {})

    def take(self, host: HostState, handler: Handler) -> str | None:
        """The host no longer waits for the handler; why it was uncertain comes back."""
        return self._waiting.get(host.name, {}).pop(id(handler), None)

    def pending(self, hosts: Sequence[HostState]) -> list[Handler]:
        """Handlers some live host waits for, in the order they are defined."""
        return [h for h in self._all if any(host.alive and self.waits(host, h) for host in hosts)]
