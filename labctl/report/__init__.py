"""From a run's raw files to figures a reviewer can check.

`reduce` reads the raw files of one kind of measurement and gives a `Model`; `write` and `render` make
every format from it. A new kind of measurement is one more module in `KINDS`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from labctl.errors import UsageError, did_you_mean
from labctl.report.write import FORMATS, write

if TYPE_CHECKING:
    from labctl.report.model import Model
    from labctl.report.rawfiles import Run

__all__ = ["FORMATS", "KINDS", "reduce", "render", "summary", "write"]

KINDS = {"migration": "labctl.report.migration", "notebook_limits": "labctl.report.notebook"}


class Kind(Protocol):
    """What a module in `KINDS` offers."""

    def recognise(self, folder: Path) -> bool:
        """Whether a run's folder holds raw files of this kind."""

    def reduce(self, run: Run, target: float) -> Model:
        """UsageError when there is nothing to reduce."""


def reduce(folder: Path, *, target: float | None = None, kind: str | None = None) -> Model:
    """Reduce a run's folder. `target`: the reduction to judge against, as a share; None takes the one the
    run's report had, else 0.2. `kind` None: whatever kind the raw files are. UsageError when there are none."""
    from labctl.report.rawfiles import read_json, read_run

    run = read_run(folder)
    chosen = _kind(folder, kind)
    if target is None:
        former = (read_json(folder / "report.json") or {}).get("target")
        target = float(former) if isinstance(former, int | float) else 0.2
    return chosen.reduce(run, target)


def _kind(folder: Path, name: str | None) -> Kind:
    if name is not None:
        if name not in KINDS:
            hint = did_you_mean(name, KINDS) or f"the kinds: {', '.join(KINDS)}"
            raise UsageError(f"there is no kind of report '{name}'", hint=hint)
        return cast(Kind, importlib.import_module(KINDS[name]))
    for module in KINDS.values():
        found = cast(Kind, importlib.import_module(module))
        if found.recognise(folder):
            return found
    raise UsageError(
        f"there is nothing to report in {folder}",
        hint="it holds no raw files of a measurement; a playbook makes them with 'migrate' or 'find_limit'",
    )


def render(model: Model, form: str) -> str:
    """The report as text: 'summary' (for a terminal), 'json', 'csv', 'md' or 'html'."""
    if form == "summary":
        from labctl.report.text import summary_of

        return summary_of(model)
    from labctl.report.write import as_text

    return as_text(model, form)


def summary(folder: Path) -> str | None:
    """The terminal's summary of the report in a run's folder, or None when it has none."""
    from labctl.report.rawfiles import read_json

    found: Any = (read_json(folder / "report.json") or {}).get("summary")
    return "\n".join(map(str, found)) + "\n" if isinstance(found, list) else None
