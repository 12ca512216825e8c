"""Sort keys of version texts, for `is version`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import total_ordering
from typing import Any

from labctl.errors import VariableError


@total_ordering
class _Part:
    """A number or a word; a number comes before a word, and the end of a version before both."""

    __slots__ = ("key",)

    def __init__(self, text: str) -> None:
        self.key: tuple[int, Any] = (0, int(text)) if text.isdigit() else (1, text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Part) and self.key == other.key

    def __lt__(self, other: _Part) -> bool:
        return self.key < other.key

    def __hash__(self) -> int:
        return hash(self.key)


def loose(text: str) -> list[_Part]:
    """`1.2rc3` as 1, 2, 'rc', 3."""
    return [_Part(part) for part in re.findall(r"\d+|[A-Za-z]+", text)]


def strict(text: str) -> tuple[int, int, int, tuple[str, int]]:
    """`1.2`, `1.2.3`, `1.2a1`: a pre-release comes before its release."""
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?(?:([ab])(\d+))?", text.strip())
    if found is None:
        raise VariableError(f"'{text}' is not a strict version number", hint="like 1.2 or 1.2.3")
    before = (found[4], int(found[5])) if found[4] else ("z", 0)
    return int(found[1]), int(found[2]), int(found[3] or 0), before


def semantic(text: str) -> tuple[int, int, int, bool, list[_Part]]:
    """Semantic Versioning 2.0.0, section 11; build metadata does not count."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", text.strip())
    if found is None:
        raise VariableError(f"'{text}' is not a semantic version", hint="like 1.2.3 or 1.2.3-rc.1")
    before = [_Part(part) for part in found[4].split(".")] if found[4] else []
    return int(found[1]), int(found[2]), int(found[3]), not before, before


VERSIONS: dict[str, Callable[[str], Any]] = {
    "loose": loose,
    "strict": strict,
    "semver": semantic,
    "semantic": semantic,
}
