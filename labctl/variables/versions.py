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


def loose(text: str) -> list[int | str]:
    """`1.2rc3` as 1, 2, 'rc', 3. A number and a word at the same place cannot be compared: TypeError."""
    parts = re.split(r"(\d+|[a-z]+|\.)", text)
    return [int(part) if part.isdigit() else part for part in parts if part not in ("", ".")]


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


_PEP440 = re.compile(
    r"""v?(?:(\d+)!)?(\d+(?:\.\d+)*)
        (?:[-_.]?(alpha|beta|preview|pre|a|b|c|rc)[-_.]?(\d*))?
        ((?:-(?P<bare>\d+))|(?:[-_.]?(?:post|rev|r)[-_.]?(?P<post>\d*)))?
        (?P<dev>[-_.]?dev[-_.]?(\d*))?
        (?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?""",
    re.VERBOSE,
)
_STAGES = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_LAST = (9, "", 0)


def pep440(text: str) -> tuple[Any, ...]:
    """Python's version numbers: epoch, release, pre-, post- and development releases, local part."""
    found = _PEP440.fullmatch(text.strip().lower())
    if found is None:
        raise VariableError(f"'{text}' is not a version by PEP 440", hint="like 1.2, 1.2rc1 or 1.2.post1")
    release = [int(part) for part in found[2].split(".")]
    while release and release[-1] == 0:
        release.pop()
    has_post, has_dev = found[5] is not None, found["dev"] is not None
    post = int(found["bare"] or found["post"] or 0) if has_post else -1
    dev = (0, int(found[9] or 0)) if has_dev else (1, 0)
    if found[3]:
        before: tuple[int, str, int] = (1, _STAGES.get(found[3], found[3]), int(found[4] or 0))
    else:
        before = (0, "", 0) if has_dev and not has_post else _LAST
    parts = re.split(r"[-_.]", found[10]) if found[10] else []
    local = [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
    return int(found[1] or 0), release, before, post, dev, local


VERSIONS: dict[str, Callable[[str], Any]] = {
    "loose": loose,
    "strict": strict,
    "semver": semantic,
    "semantic": semantic,
    "pep440": pep440,
}
