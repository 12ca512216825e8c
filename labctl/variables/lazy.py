"""Containers whose items are rendered when they are read, and `plain`, which reads them all.

Templates see raw dicts and lists through these, so that `{{ site.name }}` neither renders nor trips
over the other keys of `site`.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from types import GeneratorType
from typing import Any

from jinja2.runtime import Undefined as _Undefined

from labctl.errors import VariableError
from labctl.variables.omit import OMIT
from labctl.variables.undefined import Undefined, UndefinedUse
from labctl.variables.unknown import Unknown

Resolve = Callable[[Any, str], Any]

_SCALARS = frozenset({str, int, float, bool, type(None), bytes})


class LazyDict(dict[Any, Any]):
    """A shallow copy of a raw dict; an item is resolved, and kept, when it is first read."""

    __slots__ = ("__label", "__resolve")

    def __init__(self, raw: Mapping[Any, Any], resolve: Resolve, label: str) -> None:
        super().__init__(raw)
        self.__resolve = resolve
        self.__label = label

    def __getitem__(self, key: Any) -> Any:
        value = super().__getitem__(key)
        if type(value) in _SCALARS:
            return value
        value = self.__resolve(value, f"{self.__label}.{key}")
        super().__setitem__(key, value)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 - that is this method

    def __iter__(self) -> Iterator[Any]:
        # Overriding this sends dict(lazy) and {**lazy} through __getitem__.
        return super().__iter__()

    def _all(self) -> dict[Any, Any]:
        return {key: self[key] for key in super().__iter__()}

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return self._all().values()

    def items(self) -> ItemsView[Any, Any]:  # type: ignore[override]
        return self._all().items()

    def copy(self) -> dict[Any, Any]:
        return self._all()

    def pop(self, key: Any, *default: Any) -> Any:
        if key in self:
            value = self[key]
            super().__delitem__(key)
            return value
        return super().pop(key, *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self else super().setdefault(key, default)

    def __eq__(self, other: object) -> bool:
        return self._all() == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __or__(self, other: Any) -> Any:
        return self._all() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._all()

    def __repr__(self) -> str:
        return repr(plain(self))


class LazyList(list[Any]):
    """As `LazyDict`, for lists."""

    __slots__ = ("__label", "__resolve")

    def __init__(self, raw: list[Any] | tuple[Any, ...], resolve: Resolve, label: str) -> None:
        super().__init__(raw)
        self.__resolve = resolve
        self.__label = label

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._all()[index]
        value = super().__getitem__(index)
        if type(value) in _SCALARS:
            return value
        value = self.__resolve(value, f"{self.__label}[{index}]")
        super().__setitem__(index, value)
        return value

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self)):
            yield self[index]

    def _all(self) -> list[Any]:
        return [self[index] for index in range(len(self))]

    def __reversed__(self) -> Iterator[Any]:
        yield from self._all()[::-1]

    def __contains__(self, item: object) -> bool:
        return item in self._all()

    def __eq__(self, other: object) -> bool:
        return self._all() == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __lt__(self, other: Any) -> bool:
        return bool(self._all() < other)

    def __gt__(self, other: Any) -> bool:
        return bool(self._all() > other)

    def __add__(self, other: Any) -> Any:
        return self._all() + list(other)

    def __radd__(self, other: Any) -> Any:
        return list(other) + self._all()

    def __mul__(self, count: Any) -> Any:
        return self._all() * count

    def copy(self) -> list[Any]:
        return self._all()

    def index(self, *arguments: Any) -> int:
        return self._all().index(*arguments)

    def count(self, item: Any) -> int:
        return self._all().count(item)

    def pop(self, index: Any = -1) -> Any:
        value = self[index]
        super().__delitem__(index)
        return value

    def __repr__(self) -> str:
        return repr(plain(self))


_ITERABLES: tuple[type[Iterable[Any]], ...] = (
    *(list, tuple, set, frozenset, range, GeneratorType, map, filter, zip),
    *(type({}.keys()), type({}.values()), type({}.items())),
)


def plain(value: Any, *, keep_unknown: bool = False) -> Any:
    """The value as dicts, lists and scalars that no longer know where they came from; `omit` is dropped
    from containers, and text is never a template again. Raises for undefined and unknown values."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Undefined):
        raise UndefinedUse(value)
    if kind is Unknown:
        return value if keep_unknown else bool(value)
    if isinstance(value, Mapping):
        pairs = ((key, plain(item, keep_unknown=keep_unknown)) for key, item in value.items())
        return {_key(key): item for key, item in pairs if item is not OMIT}
    if isinstance(value, _Undefined):
        raise VariableError("this value is undefined: an 'if' without 'else' has no other value")
    if callable(value) and not isinstance(value, type):
        name = getattr(value, "__name__", type(value).__name__)
        hint = f"write {name}() to call it, or ['{name}'] for a key of that name"
        raise VariableError(f"'{name}' is a function, and no value of a variable", hint=hint)
    if isinstance(value, _ITERABLES):
        items = (plain(item, keep_unknown=keep_unknown) for item in value)
        return [item for item in items if item is not OMIT]
    return value


def _key(key: Any) -> Any:
    return str.__str__(key) if isinstance(key, str) and type(key) is not str else key
