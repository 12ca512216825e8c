"""`omit`: the value of an argument, key or item that is to be left out."""

from __future__ import annotations

from typing import Final


class Omit:
    """There is one, `OMIT`; it survives copying."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<omit>"

    def __copy__(self) -> Omit:
        return self

    def __deepcopy__(self, _memo: object) -> Omit:
        return self

    def __reduce__(self) -> str:
        return "OMIT"


OMIT: Final = Omit()
