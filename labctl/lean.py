"""Loading a library without those of its parts that take longest and that labctl never uses, or not in every run."""

from __future__ import annotations

import re
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


class _Later:
    """A pattern that is compiled when it is used."""

    def __init__(self, *given: Any) -> None:
        self._given = given

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(*self._given), name)
        setattr(self, name, value)
        return value


@contextmanager
def patterns_later() -> Iterator[None]:
    """While the block runs, what is compiled by `re.compile` is compiled only when it is used: PyYAML's characters alone
    take 6 ms, and its C library needs none of them. For libraries that ask the patterns themselves, and not `re`, to
    match."""
    compile_now = re.compile
    re.compile = _Later  # type: ignore[assignment]
    try:
        yield
    finally:
        re.compile = compile_now
