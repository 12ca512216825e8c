"""The short form of arguments: `copy: src=a dest="b c"`, `command: make install chdir=/src`."""

from __future__ import annotations

import re
from collections.abc import Callable

from labctl.records import dataclass

_CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}
_NAME = re.compile(r"((?:[A-Za-z_]|\{\{.*?\}\})(?:[\w.-]|\{\{.*?\}\})*)=", re.DOTALL)
# No octal ones: `\1` is a group of a regular expression.
_ESCAPE = re.compile(r"\\(?:U[0-9A-Fa-f]{8}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|N\{[^}]+\}|[\\'\"abfnrtv])")


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of the text between blanks; quotes and templates hold blanks together."""

    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Pair:
    """`name=value`, and where in the text name and value begin."""

    name: str
    value: str
    start: int
    value_start: int


class Unbalanced(ValueError):
    """A quote or template that is not closed; `offset` is where it opens."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"{what} is not closed")
        self.offset = offset


def words(text: str) -> list[Word]:
    found: list[Word] = []
    start: int | None = None
    position = 0
    while position < len(text):
        if text[position].isspace():
            if start is not None:
                found.append(Word(text[start:position], start))
            start = None
            position += 1
            continue
        start = position if start is None else start
        position = _skip(text, position)
    if start is not None:
        found.append(Word(text[start:], start))
    return found


def first(text: str) -> str:
    """The first word; the whole text where a quote or template in it is not closed."""
    try:
        return words(text)[0].text
    except Unbalanced:
        return text


def _skip(text: str, position: int) -> int:
    """Past one character, or past a whole quotation or template."""
    if closing := _CLOSING.get(text[position : position + 2]):
        end = text.find(closing, position + 2)
        if end < 0:
            raise Unbalanced(f"the template '{text[position : position + 2]}'", position)
        return end + 2
    char = text[position]
    if char == "\\":
        return position + 2
    if char not in "'\"":
        return position + 1
    opened, position = position, position + 1
    while position < len(text):
        if text[position] == char:
            return position + 1
        in_template = text[position : position + 2] in _CLOSING
        position = _skip(text, position) if in_template or text[position] == "\\" else position + 1
    raise Unbalanced(f"the quote {char}", opened)


def split(text: str, takes: Callable[[str], bool]) -> tuple[list[Pair], str, list[Word]]:
    """The pairs whose name `takes` accepts, the text without them, and its remaining words."""
    pairs: list[Pair] = []
    rest: list[Word] = []
    kept: list[str] = []
    copied = 0
    for word in words(text):
        named = _NAME.match(word.text)
        if named is None or not takes(named[1]):
            rest.append(word)
            continue
        value = word.text[named.end() :]
        pairs.append(Pair(named[1], _plain(value), word.start, word.start + named.end()))
        kept.append(text[copied : word.start])
        copied = word.end
    if not pairs:
        return [], text.strip(), rest
    kept.append(text[copied:])
    return pairs, " ".join(piece.strip() for piece in kept if piece.strip()), rest


def _plain(value: str) -> str:
    """A value without its quotes, its backslash escapes decoded."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    return _ESCAPE.sub(_decode, value)


def _decode(found: re.Match[str]) -> str:
    try:
        return found.group().encode("ascii").decode("unicode_escape")
    except UnicodeError:  # no such character
        return found.group()
