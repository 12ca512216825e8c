"""Dataclasses that take a tenth of the time to make.

The standard library writes the methods of each dataclass as text and compiles them: 0.5 ms a class, which was an eighth
of what a run took to start. Here `__init__` is compiled for the first object of a class, and most classes have none in a
run; `__repr__`, `__eq__` and `__hash__` are closures. That a frozen one is not changed is for the type checker to see,
which takes these for the library's own."""

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
        if cls.__doc__ is None:
            cls.__doc__ = cls.__name__  # or the library would write one, with the help of `inspect`
        made: Any = dataclasses.dataclass(cls, init=False, repr=False, eq=False, **given)
        fields = dataclasses.fields(made)
        made.__init__ = _first_init(made)
        methods = {"__repr__": _shower([each.name for each in fields if each.repr])}
        if eq:
            methods |= _comparers([each.name for each in fields if each.compare], hashed=frozen)
        for name, method in methods.items():
            if vars(cls).get(name) is None:
                setattr(made, name, method)
        return made  # type: ignore[no-any-return]

    return make if cls is None else make(cls)


def _first_init(made: Any) -> Callable[..., None]:
    """An `__init__` that puts the one that is meant into its place."""

    def first(self: Any, *args: Any, **named: Any) -> None:
        made.__init__ = _init(made)
        made.__init__(self, *args, **named)

    return first


def _init(made: Any) -> Any:
    fields = dataclasses.fields(made)
    known: dict[str, Any] = {"_not_given": object()}
    known |= {f"_make_{each.name}": each.default_factory for each in fields}
    known |= {f"_usual_{each.name}": each.default for each in fields}
    usual = [_parameter(each) for each in fields if each.init and not each.kw_only]
    named = [_parameter(each) for each in fields if each.init and each.kw_only]
    parameters = ", ".join(["self", *usual, *(["*", *named] if named else [])])
    body = [_assignment(each) for each in fields if each.init or _has_factory(each)]
    if hasattr(made, "__post_init__"):
        body.append("self.__post_init__()")
    exec(f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"]), known)  # noqa: S102
    init = known["__init__"]
    init.__qualname__ = f"{made.__qualname__}.__init__"
    return init


def _parameter(one: dataclasses.Field[Any]) -> str:
    if _has_factory(one):
        return f"{one.name}=_not_given"
    return one.name if one.default is dataclasses.MISSING else f"{one.name}=_usual_{one.name}"


def _assignment(one: dataclasses.Field[Any]) -> str:
    name = one.name
    if not _has_factory(one):
        return f"self.{name} = {name}"
    given = f"{name} if {name} is not _not_given else " if one.init else ""
    return f"self.{name} = {given}_make_{name}()"


def _has_factory(one: dataclasses.Field[Any]) -> bool:
    return one.default_factory is not dataclasses.MISSING


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
