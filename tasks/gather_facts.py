"""Gather facts, as a play does by itself. This is `setup` under its other name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.task_types import Context, arg, load

_setup = load(Path(__file__).with_name("setup.py"))


@dataclass(kw_only=True)
class Arguments(_setup.arguments):  # type: ignore[name-defined,misc]
    parallel: bool | None = arg(None, doc="For several gatherers at once; there is one here.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    found: Any = _setup.run(args, ctx)
    return dict(found)
