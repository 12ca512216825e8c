"""What a template gets for a name that has no value.

As in ansible-core 2.19: an attribute of something undefined is undefined too, `default` and
`is defined` accept it, a filter hands it on, and any other use is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2.runtime import Undefined as _Undefined
from jinja2.utils import missing, object_type_repr

from labctl.errors import Mark

# What the author calls them, for those whose class has another name.
_KINDS = {
    "LazyDict": "dict",
    "LazyList": "list",
    "Scope": "vars",
    "HostScope": "hostvars",
    "HostVars": "hostvars",
}


class UndefinedUse(jinja2.UndefinedError):
    """An undefined value was used. Becomes an `UndefinedVariable` where the text's position is known."""

    def __init__(self, undefined: Undefined) -> None:
        super().__init__(undefined.problem())
        self.undefined = undefined


class Undefined(jinja2.ChainableUndefined, jinja2.StrictUndefined):
    """`origin` and `owner`: position and name of the variable whose own template met the undefined name."""

    __slots__ = ("origin", "owner")
    origin: Mark | None
    owner: str | None

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: Any = None, _exc: Any = None
    ) -> None:
        super().__init__(hint, obj, name)
        self._undefined_exception = self._use  # type: ignore[assignment]
        self.origin = None
        self.owner = None

    def _use(self, _message: str) -> UndefinedUse:
        return UndefinedUse(self)

    def problem(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"'{self._undefined_name}' is undefined"
        kind = object_type_repr(self._undefined_obj).removesuffix(" object")
        kind = _KINDS.get(kind.rsplit(".", 1)[-1], kind)
        if isinstance(self._undefined_name, str):
            return f"object of type '{kind}' has no attribute '{self._undefined_name}'"
        return f"object of type '{kind}' has no element {self._undefined_name!r}"

    @property
    def is_variable(self) -> bool:
        """Whether a variable is missing (and not an attribute of one)."""
        return self._undefined_obj is missing

    @property
    def name(self) -> Any:
        return self._undefined_name

    def neighbours(self) -> list[str]:
        """Names the author may have meant, where the missing one is a key of a mapping."""
        return [str(key) for key in self._undefined_obj] if isinstance(self._undefined_obj, Mapping) else []


def is_undefined(value: object) -> bool:
    return isinstance(value, _Undefined)
