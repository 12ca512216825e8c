"""Strings that templates must tell from others: literals that are templates themselves, as in
`lookup('file', '{{ name }}.txt')`, and what a `!vault` value hid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labctl.yaml import Text


class Embedded(str):
    """A literal that holds a template, written by the author of the template around it."""

    __slots__ = ()


class Decrypted(str):
    """The clear text of a `!vault` value."""

    __slots__ = ()


def is_embedded(value: object) -> bool:
    return type(value) is str and ("{{" in value or "{%" in value)


def render_embedded(value: Any, render: Callable[[Any], Any]) -> Any:
    """A lookup's term with every template its author wrote into it rendered."""
    if type(value) is Embedded:
        return render(Text(value))
    if type(value) is dict:
        return {key: render_embedded(item, render) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [render_embedded(item, render) for item in value]
    return value
