"""Variables for a thread that must not be kept waiting."""

from __future__ import annotations

from typing import Any, cast

import jinja2

from labctl.variables.environment import Template
from labctl.variables.joined import Joined
from labctl.variables.scope import Scope


class Waits(BaseException):
    """A template was met that may take its time. No error: whoever asked has to ask a `Scope` in another thread."""


class ReadyScope(Scope):
    """As `Scope`, but raises Waits before it renders a template that may look something up."""

    def _run_text(self, template: jinja2.Template) -> str:
        _check(template)
        return super()._run_text(template)

    def _run(self, template: jinja2.Template | Joined) -> Any:
        _check(template)
        return super()._run(template)


def _check(template: jinja2.Template | Joined) -> None:
    if cast("Template | Joined", template).waits:
        raise Waits
