"""What a keyword's value may be. A kind returns the value as the tree keeps it, or raises Refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from labctl import yaml
from labctl.errors import Mark, did_you_mean
from labctl.task_types import describe, to_bool
from labctl.yaml import Text, mark_of

Kind = Callable[[Any], Any]

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)
_PERCENT = re.compile(r"\d+(\.\d+)?%?\Z")


class Refused(Exception):
    """A value that is none of its kind: what was expected instead, and what was found (a `message` says it
    otherwise)."""

    def __init__(
        self,
        expected: str,
        value: Any,
        hint: str | None = None,
        mark: Mark | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.message = message
        self.hint = hint
        self.mark = mark


def is_template(value: Any) -> bool:
    """Whether a value is text that is rendered at run time."""
    return isinstance(value, Text) and not value.unsafe and ("{{" in value or "{%" in value)


def is_identifier(name: Any) -> bool:
    return isinstance(name, str) and _IDENTIFIER.match(name) is not None


def boolean(value: Any) -> Any:
    if is_template(value):
        return value
    try:
        return to_bool(value)
    except ValueError:
        raise Refused("a boolean", value) from None


def integer(value: Any) -> Any:
    if is_template(value) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    raise Refused("an integer", value)


def number(value: Any) -> Any:
    if is_template(value) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    try:
        if isinstance(value, str):
            return float(value)
    except ValueError:
        pass
    raise Refused("a number", value)


def string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Refused("a string", value)


def title(value: Any) -> Any:
    """A name for people: `on` and `no`, which YAML reads as booleans, will do."""
    return str(value) if isinstance(value, bool) else string(value)


def identifier(value: Any) -> Any:
    if is_identifier(value):
        return value
    raise Refused("the name of a variable (letters, digits, '_'; no digit first)", value)


def identifier_or_template(value: Any) -> Any:
    return value if is_template(value) else identifier(value)


def strings(value: Any) -> Any:
    """One string, or a list of them."""
    items = value if isinstance(value, list) else [value]
    return [_item(string, item, items, "a string or a list of strings") for item in items]


def comma_strings(value: Any) -> Any:
    """Strings as a list, or between commas."""
    found: list[Any] = []
    for item in strings(value):
        if is_template(item):
            found.append(item)
        else:
            mark = mark_of(item)
            found.extend(Text(part.strip(), mark) for part in item.split(",") if part.strip())
    return found


def condition(value: Any) -> Any:
    if isinstance(value, bool | str) and value != "":
        return value
    raise Refused("an expression", value)


def conditions(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    return [_item(condition, item, items, "an expression or a list of expressions") for item in items]


def mapping(value: Any) -> Any:
    if isinstance(value, yaml.Mapping):
        return value
    raise Refused("a mapping", value)


def arguments(value: Any) -> Any:
    """A mapping, or a template of one."""
    return value if is_template(value) else mapping(value)


def variables(value: Any) -> Any:
    for name in mapping(value):
        if not is_identifier(name):
            raise Refused(
                "a mapping of variables",
                value,
                "letters, digits and '_'; no digit first",
                value.key_mark(name),
                f"{name!r} cannot be the name of a variable",
            )
    return value


def environment(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        if not (is_template(item) or isinstance(item, yaml.Mapping)):
            raise Refused("a mapping of environment variables", item, None, _item_mark(items, index))
    return items


def mappings(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    return [_item(mapping, item, items, "a mapping or a list of mappings") for item in items]


def loop(value: Any) -> Any:
    if isinstance(value, list) or is_template(value):
        return value
    raise Refused("a list", value, "write '{{ name }}' for the list a variable holds" if value else None)


def anything(value: Any) -> Any:
    return value


def percent(value: Any) -> Any:
    if is_template(value):
        return value
    if isinstance(value, int | float | str) and not isinstance(value, bool) and _PERCENT.match(str(value)):
        return value
    raise Refused("a number or a percentage", value)


def batches(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    return [_item(percent, item, items, "a number, a percentage, or a list of them") for item in items]


def one_of(*choices: str) -> Kind:
    def check(value: Any) -> Any:
        if is_template(value) or str(value).removeprefix("ansible.builtin.") in choices:
            return value
        raise Refused(f"one of {', '.join(choices)}", value, did_you_mean(str(value), choices))

    return check


def pattern(value: Any) -> Any:
    """A host pattern or a list of them, none empty."""
    for item in strings(value) or [""]:
        if not item.strip():
            raise Refused("a host pattern", value)
    return value


def describe_refusal(keyword: str, refused: Refused) -> str:
    return refused.message or f"'{keyword}' must be {refused.expected}, not {describe(refused.value)}"


def _item(kind: Kind, item: Any, items: Sequence[Any], expected: str) -> Any:
    try:
        return kind(item)
    except Refused:
        index = next(n for n, each in enumerate(items) if each is item)
        raise Refused(expected, item, None, _item_mark(items, index)) from None


def _item_mark(items: Sequence[Any], index: int) -> Mark | None:
    return items.item_mark(index) if isinstance(items, yaml.Sequence) else None
