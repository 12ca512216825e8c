"""A task's tags, and where `--start-at-task` starts."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from labctl.playbook.tree import Keywords


def tags_of(node: Keywords) -> list[str]:
    """Own and inherited tags; "a,b" is two."""
    return [part.strip() for tag in node.all_tags() for part in str(tag).split(",") if part.strip()]


def named(pattern: str, names: Iterable[str | None]) -> bool:
    """Whether `--start-at-task pattern` means a task of one of these names."""
    return any(name is not None and fnmatch.fnmatchcase(name, pattern) for name in names)
