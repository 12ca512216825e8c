"""A value that only a real run can know, in a dry run.

`Unknown` stands where the value would be, so that `is defined` is true of it; whatever reads it
(a condition, a filter, a comparison, text) raises `UnknownValue` with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from labctl.errors import UnknownValue

_ATOMS = frozenset({str, int, float, bool, type(None), bytes})


class Unknown:
    """`reason` says why the value cannot be known, e.g. "'command' is not run in a dry run"."""

    __slots__ = ("reason",)
    made = False  # whether there has been one at all in this process

    def __init__(self, reason: str) -> None:
        self.reason = reason
        Unknown.made = True

    def _refuse(self, *_: object) -> NoReturn:
        raise UnknownValue(f"not known in a dry run: {self.reason}")

    def __repr__(self) -> str:
        return f"<unknown: {self.reason}>"

    def __hash__(self) -> int:
        return id(self)

    __str__ = __bool__ = __iter__ = __len__ = __contains__ = __getitem__ = __call__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __int__ = __float__ = __index__ = __neg__ = __pos__ = __abs__ = __round__ = __format__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _refuse


def contains_unknown(value: Any) -> bool:
    """Whether an `Unknown` is anywhere in a plain structure of dicts and lists."""
    if not Unknown.made or type(value) in _ATOMS:
        return False
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Mapping):
        return any(contains_unknown(item) for item in value.values())
    return isinstance(value, list | tuple) and any(contains_unknown(item) for item in value)


def shown(value: Any) -> Any:
    """A copy that JSON and a console can hold: every `Unknown` as the text "<unknown: reason>"."""
    if isinstance(value, Unknown):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value
