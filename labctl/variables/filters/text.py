"""Filters over text: regular expressions, quoting, comments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

from labctl.errors import VariableError, did_you_mean

_STYLES: dict[str, dict[str, str]] = {
    "plain": {"decoration": "# "},
    "erlang": {"decoration": "% "},
    "c": {"decoration": "// "},
    "cblock": {"beginning": "/*", "decoration": " * ", "end": " */"},
    "xml": {"beginning": "<!--", "decoration": " - ", "end": "-->"},
}


def compiled(pattern: str, ignorecase: bool = False, multiline: bool = False) -> re.Pattern[str]:
    flags = (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise VariableError(f"'{pattern}' is not a regular expression: {error}") from None


def regex_search(
    value: Any, regex: str, *groups: str, ignorecase: bool = False, multiline: bool = False
) -> Any:
    """The match, or the list of the named groups (`'\\\\1'`, `'\\\\g<name>'`); None without a match."""
    found = compiled(regex, ignorecase, multiline).search(str(value))
    if found is None:
        return None
    if not groups:
        return found.group()
    wanted: list[Any] = []
    for group in groups:
        name = re.fullmatch(r"\\(\d+)|\\g<(\w+)>", group)
        if name is None:
            raise VariableError(rf"regex_search: '{group}' is not a group", hint=r"like '\\1' or '\\g<name>'")
        key: str | int = int(name[1]) if name[1] else name[2]
        try:
            wanted.append(found.group(key))
        except IndexError:
            raise VariableError(f"regex_search: the expression has no group '{group}'") from None
    return wanted


def regex_findall(value: Any, regex: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    return compiled(regex, ignorecase, multiline).findall(str(value))


def regex_replace(  # noqa: PLR0917 - Ansible's positions
    value: Any = "",
    pattern: str = "",
    replacement: str = "",
    ignorecase: bool = False,
    multiline: bool = False,
    count: int = 0,
    mandatory_count: int = 0,
) -> str:
    text, done = compiled(pattern, ignorecase, multiline).subn(replacement, str(value), count)
    if mandatory_count and done != mandatory_count:
        raise VariableError(f"regex_replace: '{pattern}' matched {done} times, expected {mandatory_count}")
    return text


def regex_escape(value: Any, re_type: str = "python") -> str:
    if re_type == "python":
        return re.escape(str(value))
    if re_type == "posix_basic":
        return re.sub(r"([].[^$*\\])", r"\\\1", str(value))
    raise VariableError(f"regex_escape: unknown re_type '{re_type}'", hint="python or posix_basic")


def quote(value: Any) -> str:
    return shlex.quote("" if value is None else str(value))


def split(value: Any, separator: str | None = None, maxsplit: int = -1) -> list[str]:
    if not isinstance(value, str):
        raise VariableError(f"split: needs a string, not {type(value).__name__}")
    return value.split(separator, maxsplit)


def comment(
    text: Any,
    style: str = "plain",
    *,
    newline: str = "\n",
    beginning: str | None = None,
    end: str | None = None,
    decoration: str | None = None,
    prefix: str | None = None,
    postfix: str | None = None,
    prefix_count: int = 1,
    postfix_count: int = 1,
) -> str:
    if style not in _STYLES:
        raise VariableError(f"comment: unknown style '{style}'", hint=did_you_mean(style, _STYLES))
    chosen = _STYLES[style]
    mark = chosen["decoration"] if decoration is None else decoration
    before = mark.rstrip() if prefix is None else prefix
    after = mark.rstrip() if postfix is None else postfix
    first = chosen.get("beginning", "") if beginning is None else beginning
    last = chosen.get("end", "") if end is None else end
    body = mark + str(text).replace(newline, newline + mark)
    body = body.replace(mark + newline, mark.rstrip() + newline)
    above = (before + newline if before != newline else newline) * int(prefix_count) if before else ""
    below = (newline + after) * int(postfix_count)
    return "".join([first + newline if first else "", above, body, below, newline + last if last else ""])


FILTERS: dict[str, Callable[..., Any]] = {
    "regex_search": regex_search,
    "regex_findall": regex_findall,
    "regex_replace": regex_replace,
    "regex_escape": regex_escape,
    "quote": quote,
    "split": split,
    "comment": comment,
}
