"""The filters of templates: Ansible's in common use, and labctl's own, by theme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labctl.variables.filters import (
    collections,
    combining,
    encoding,
    logic,
    measuring,
    numbers,
    passwords,
    paths,
    text,
    times,
    vaults,
)
from labctl.variables.filters.logic import undef
from labctl.variables.filters.times import now

FILTERS: dict[str, Callable[..., Any]] = {
    **logic.FILTERS,
    **collections.FILTERS,
    **combining.FILTERS,
    **encoding.FILTERS,
    **measuring.FILTERS,
    **numbers.FILTERS,
    **passwords.FILTERS,
    **paths.FILTERS,
    **text.FILTERS,
    **times.FILTERS,
    **vaults.FILTERS,
}

__all__ = ["FILTERS", "now", "undef"]
