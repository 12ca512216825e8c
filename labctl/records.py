"""Dataclasses that take a third of the time to make.

The standard library writes the methods of each dataclass as text and compiles them: 0.5 ms a class, which was an eighth
of what a run took to start. Here it writes `__init__` alone; `__repr__`, `__eq__` and `__hash__` are closures. That a
frozen one is not changed is for the type checker to see, which takes these for the library's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "field"]


def _dataclass(cls: type | None = None, /, *, eq: bool = True, frozen: bool = False, **given: Any) -> Any:
    """As `dataclasses.dataclass`."""

    def make(cls: type) -> type:
        made: Any = dataclasses.dataclass(cls, repr=False, eq=False, **given)
        fields = dataclasses.fields(made)
        methods = {"__repr__": _shower([each.name for each in fields if each.repr])}
        if eq:
            methods |= _comparers([each.name for each in fields if each.compare], hashed=frozen)
        for name, method in methods.items():
            if vars(cls).get(name) is None:
                setattr(made, name, method)
        return made  # type: ignore[no-any-return]

    return make if cls is None else make(cls)


def _shower(names: list[str]) -> Callable[[Any], str]:
    def show(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in names)})"

    return show


def _comparers(names: list[str], *, hashed: bool) -> dict[str, Any]:
    key: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def equal(self: Any, other: Any) -> Any:
        return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

    def value(self: Any) -> int:
        return hash(key(self))

    return {"__eq__": equal, "__hash__": value if hashed else None}


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
