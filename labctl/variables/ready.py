"""Variables for a thread that must not be kept waiting."""

from __future__ import annotations

from typing import Any

import jinja2

from labctl.variables.joined import Joined
from labctl.variables.scope import Scope


class Waits(BaseException):
    """A template was met that may take its time. No error: whoever asked has to ask a `Scope` in another thread."""


class ReadyScope(Scope):
    """As `Scope`, but raises Waits before it renders a template that may look something up."""

    def _run_text(self, template: jinja2.Template) -> str:
        if self._keeps(template):
            raise Waits
        return self.templar.run_text(template, self)

    def _run(self, template: jinja2.Template | Joined) -> Any:
        if self._keeps(template):
            raise Waits
        return self.templar.run(template, self)

    @staticmethod
    def _keeps(template: Any) -> bool:
        return bool(template.waits)


class SteadyScope(ReadyScope):
    """As `ReadyScope`, and raises Waits also before it renders one that may say something else later: for who asks ahead."""

    @staticmethod
    def _keeps(template: Any) -> bool:
        return bool(template.varies)
