"""Which handlers a play has, and which of them each host waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from labctl.engine.state import HostState
from labctl.errors import LabctlError, Mark, PlaybookError, did_you_mean
from labctl.playbook.handlers import select_handlers
from labctl.playbook.tree import Handler, Play
from labctl.variables import Scope
from labctl.yaml import Text


class Handlers:
    """The handlers of one batch; roles included during the run add theirs. Notifications are kept by name
    until a flush, so that the handlers defined by then answer them."""

    def __init__(self, play: Play) -> None:
        self._all: list[Handler] = list(play.handlers())
        self._notified: dict[str, dict[str, str | None]] = {}
        self._waiting: dict[str, dict[int, str | None]] = {}
        self._flushing = False

    def add(self, handlers: Sequence[Handler]) -> None:
        """A role that comes again brings its handlers anew, with the variables it has now."""
        again = {(handler.mark, handler.name) for handler in handlers}
        kept = [handler for handler in self._all if (handler.mark, handler.name) not in again]
        self._all = [*kept, *handlers]

    def notify(
        self, host: HostState, name: str, scope: Scope, mark: Mark | None, uncertain: str | None
    ) -> list[Handler]:
        """Note that `host` waits for the handlers of this name or topic; they come back. `uncertain` (dry
        run) names the task that may not have notified at all. PlaybookError when there is no such handler."""
        found = self._named(name, scope)
        if not found:
            names = [str(n) for handler in self._all for n in (handler.name, *handler.listen) if n]
            raise PlaybookError(f"there is no handler '{name}'", mark=mark, hint=did_you_mean(name, names))
        if self._flushing:
            self._wait(host, found, uncertain)
        else:
            names_of = self._notified.setdefault(host.name, {})
            if uncertain is None or name not in names_of:
                names_of[name] = uncertain
        return found

    def flushed(self, hosts: Sequence[HostState], scope: Scope) -> Iterator[Handler]:
        """Every handler in the order defined, once notifications of `hosts` so far are given to them."""
        for host in hosts:
            if host.alive:
                for name, uncertain in self._notified.pop(host.name, {}).items():
                    self._wait(host, self._named(name, scope), uncertain)
        nested, self._flushing = self._flushing, True
        try:
            yield from list(self._all)
        finally:
            self._flushing = nested

    def _named(self, name: str, scope: Scope) -> list[Handler]:
        def render(text: str) -> str:
            try:
                return scope.template(text) if isinstance(text, Text) else text
            except LabctlError:
                return text

        return select_handlers(self._all, name, render)

    def _wait(self, host: HostState, handlers: Sequence[Handler], uncertain: str | None) -> None:
        waiting = self._waiting.setdefault(host.name, {})
        for handler in handlers:
            if uncertain is None or id(handler) not in waiting:
                waiting[id(handler)] = uncertain

    def waits(self, host: HostState, handler: Handler) -> bool:
        return id(handler) in self._waiting.get(host.name, {})

    def take(self, host: HostState, handler: Handler) -> str | None:
        """The host no longer waits for the handler; why it was uncertain comes back."""
        return self._waiting.get(host.name, {}).pop(id(handler), None)
