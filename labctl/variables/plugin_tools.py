"""Small things that plugins take from Ansible: display, booleans, merged dicts, `key=value` words."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labctl.variables.filters.combining import combine

_LOG = logging.getLogger("labctl.plugins")
_TRUE = frozenset({"y", "yes", "on", "1", "true", "t", 1})
_FALSE = frozenset({"n", "no", "off", "0", "false", "f", 0})


class Display:
    """What a plugin wants to say goes to Python's log, by its level."""

    verbosity = 0

    def display(self, msg: object, *_: Any, **__: Any) -> None:
        _LOG.info("%s", msg)

    def verbose(self, msg: object, *_: Any, **__: Any) -> None:
        _LOG.debug("%s", msg)

    v = vv = vvv = vvvv = vvvvv = vvvvvv = debug = verbose

    def warning(self, msg: object, *_: Any, **__: Any) -> None:
        _LOG.warning("%s", msg)

    deprecated = error = warning


def boolean(value: Any, strict: bool = True) -> bool:
    """TypeError for what is neither, when `strict`; false otherwise."""
    word = value.lower().strip() if isinstance(value, str) else value
    try:
        if word in _TRUE:
            return True
        if word in _FALSE or not strict:
            return False
    except TypeError:
        if not strict:
            return False
    raise TypeError(f"The value '{value}' is not a valid boolean")


def is_sequence(value: Any, include_strings: bool = False) -> bool:
    return isinstance(value, Sequence) and (include_strings or not isinstance(value, str | bytes))


def is_iterable(value: Any, include_strings: bool = False) -> bool:
    return isinstance(value, Iterable) and (include_strings or not isinstance(value, str | bytes))


def merge(
    first: Mapping[Any, Any],
    second: Mapping[Any, Any],
    recursive: bool = True,
    list_merge: str = "replace",
) -> dict[Any, Any]:
    return combine(first, second, recursive=recursive, list_merge=list_merge)


def parse_kv(args: str, check_raw: bool = False) -> dict[str, str]:  # noqa: ARG001 - Ansible's argument
    """`a=1 'b c'` as `{"a": "1", "_raw_params": "b c"}`."""
    import shlex

    options: dict[str, str] = {}
    words: list[str] = []
    for word in shlex.split(args or ""):
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            options[name] = value
        else:
            words.append(word)
    return {**options, "_raw_params": " ".join(words)} if words else options
