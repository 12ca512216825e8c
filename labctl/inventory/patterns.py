"""Host patterns: which hosts `web:&prod:!web[0]` names.

Evaluated in Ansible's order: first every plain pattern (their union), then each `&` (intersection),
then each `!` (exclusion).
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import InventoryError, Mark, did_you_mean

if TYPE_CHECKING:
    from labctl.inventory.model import Inventory

_SLICE = re.compile(r"^(?P<name>.+)\[(?:(?P<one>-?\d+)|(?P<first>\d+)(?:[:-])(?P<last>\d*))\]$")
_WILD = re.compile(r"[*?\[]")
_COLON = re.compile(r"(?<!\(\?):(?![^\[]*\])")  # neither within brackets nor of a regex's "(?:"


Warn = Callable[[str, Mark | None], None]


def match(inventory: Inventory, pattern: str | Sequence[str], warn: Warn | None = None) -> list[str]:
    """The names of the hosts a pattern (or list of patterns) stands for, each once. `warn` is told of names
    that stand for nothing, which without it are errors."""
    parts = list(_parts(pattern))
    if not parts:
        raise InventoryError("the host pattern is empty", mark=getattr(pattern, "mark", None))
    plain = [part for part in parts if part[0][0] not in "&!"]
    chosen: dict[str, None] = {}
    for text, mark in plain or [("all", None)]:
        chosen.update(dict.fromkeys(_one(inventory, text, mark, warn, must_match=True)))
    for sign in "&!":
        for text, mark in parts:
            if text.startswith(sign):
                other = set(_one(inventory, text[1:], mark, warn, must_match=False))
                chosen = {name: None for name in chosen if (name in other) == (sign == "&")}
    return list(chosen)


def _parts(pattern: str | Sequence[str]) -> Iterator[tuple[str, Mark | None]]:
    if not isinstance(pattern, str):
        for item in pattern:
            yield from _parts(item if isinstance(item, str) else str(item))
        return
    mark = getattr(pattern, "mark", None)
    for part in split(str(pattern)):
        if part.startswith("@"):
            yield from _from_file(part[1:], mark)
        elif part in ("&", "!"):
            raise InventoryError(f"'{part}' needs a host or group after it", mark=mark)
        else:
            yield part, mark


def _from_file(path: str, mark: Mark | None) -> Iterator[tuple[str, Mark | None]]:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InventoryError(f"cannot read the host list '{path}': {error.strerror}", mark=mark) from None
    for number, line in enumerate(lines, 1):
        text = line.split("#", 1)[0].strip()
        for part in split(text):
            yield part, Mark(path, number, line.index(part) + 1)


def split(pattern: str) -> list[str]:
    """The single patterns in one string: at commas, or at colons that belong to no slice or address."""
    if "," in pattern:
        parts = pattern.split(",")
    elif _is_address(pattern):
        parts = [pattern]
    else:
        parts = _COLON.split(pattern)
    return [part.strip() for part in parts if part.strip()]


def _is_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.lstrip("&!").strip("[]")).version == 6
    except ValueError:
        return False


def _one(
    inventory: Inventory, text: str, mark: Mark | None, warn: Warn | None, *, must_match: bool
) -> list[str]:
    if text in inventory.hosts:
        return [text]
    sliced = None if text.startswith("~") else _SLICE.match(text)
    try:
        names = _named(inventory, sliced["name"] if sliced else text, mark, must_match=must_match)
    except NoMatch as error:
        if warn is None:
            raise
        warn(f"{error.message} ({error.hint})" if error.hint else error.message, error.mark)
        return []
    return _slice(names, sliced, text, mark) if sliced and names else names


class NoMatch(InventoryError):
    """A pattern that stands for nothing."""


def _slice(names: list[str], part: re.Match[str], text: str, mark: Mark | None) -> list[str]:
    if part["one"] is not None:
        try:
            return [names[int(part["one"])]]
        except IndexError:
            raise InventoryError(
                f"'{text}' is outside '{part['name']}', which has {len(names)} hosts", mark=mark
            ) from None
    last = int(part["last"]) + 1 if part["last"] else len(names)
    return names[int(part["first"]) : last]


def _named(inventory: Inventory, text: str, mark: Mark | None, *, must_match: bool) -> list[str]:
    matches = _matcher(text, mark)
    found: dict[str, None] = {}
    groups = [name for name in inventory.groups if matches(name)]
    for group in groups:
        found.update(dict.fromkeys(inventory.members(group)))
    wild = text.startswith("~") or _WILD.search(text) is not None
    if wild or "." in text or not groups:
        found.update(dict.fromkeys(name for name in inventory.hosts if matches(name)))
    if found or groups:
        return list(found)
    if text in ("localhost", "127.0.0.1", "::1"):
        return [text]
    if wild:
        if must_match:
            raise NoMatch(f"no host or group matches '{text}'", mark=mark)
        return []
    valid = [*inventory.groups, *inventory.hosts]
    raise NoMatch(
        f"no host or group is called '{text}'",
        mark=mark,
        hint=did_you_mean(text, valid) or f"there are: {_some(valid[2:])}",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "") if names else "no hosts at all"


def _matcher(text: str, mark: Mark | None) -> Callable[[str], object]:
    try:
        return re.compile(text[1:] if text.startswith("~") else fnmatch.translate(text)).match
    except re.error as error:
        raise InventoryError(f"'{text}' is not a regular expression: {error}", mark=mark) from None
