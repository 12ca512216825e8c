"""The items of `loop` and `with_…`."""

from __future__ import annotations

from typing import Any

from labctl.errors import Mark, VariableError, did_you_mean
from labctl.variables import lookups
from labctl.variables.filters.collections import type_name
from labctl.variables.scope import Scope


def loop_items(
    scope: Scope, kind: str | None, value: Any, mark: Mark | None = None, action: str = ""
) -> list[Any]:
    """The items a task runs over. `kind` is None for `loop`, else what follows `with_`; `value` is raw.
    `action` is what the task does: `with_first_found` looks in templates/ for a template."""
    if kind is None:
        items = scope.render(value, mark)
        if not isinstance(items, list):
            advice = (
                "{{ … | dict2items }} makes a list of a dict" if isinstance(items, dict) else "give a list"
            )
            raise VariableError(f"'loop' needs a list, not {type_name(items)}", mark=mark, hint=advice)
        return items
    if scope.templar.find_lookup(kind) is None:
        hint = did_you_mean(kind, scope.templar.lookups)
        raise VariableError(f"there is no 'with_{kind}'", mark=mark, hint=hint)
    options: dict[str, Any] = {}
    if kind == "first_found":
        options["folders"] = (next((f"{part}s" for part in ("template", "var") if part in action), "files"),)
        terms = scope.lazily(value)
    else:
        terms = scope.render(value, mark)
    try:
        found = lookups.run(scope, kind, terms if isinstance(terms, list) else [terms], options)
        return list(scope.render(found, mark))
    except VariableError as error:
        error.mark = error.mark or mark
        error.message = error.message.replace(f"lookup '{kind}'", f"with_{kind}", 1)
        raise
