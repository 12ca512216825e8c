"""Loading a library without those of its parts that take longest and that labctl never uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def standing_in(**modules: Mapping[str, Any] | None) -> Iterator[None]:
    """While the block runs, what imports one of these modules gets a module with these names only, or, where that
    is None, none at all. A module that is loaded already stays. `__` in a name stands for a dot."""
    named = {name.replace("__", "."): names for name, names in modules.items()}
    put = [name for name in named if name not in sys.modules]
    for name in put:
        names = named[name]
        if names is None:
            sys.modules[name] = None  # type: ignore[assignment]
        else:
            sys.modules[name] = ModuleType(name)
            vars(sys.modules[name]).update(names)
    try:
        yield
    finally:
        for name in put:
            del sys.modules[name]
