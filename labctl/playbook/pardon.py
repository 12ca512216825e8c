"""Tasks that are allowed to fail: what is wrong with them is no reason to refuse a playbook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from labctl.playbook.problems import Problems
from labctl.playbook.tree import Block, Keywords, Task


def may_fail(node: Keywords) -> bool:
    """Whether the playbook says what becomes of this task's failure: ignore_errors, failed_when, or a rescue."""
    if isinstance(node, Task) and node.failed_when is not None:
        return True
    if node.inherited("ignore_errors") not in (None, False):
        return True
    below = node
    for above in node.ancestors():
        if isinstance(above, Block) and above.rescue and any(entry is below for entry in above.block):
            return True
        below = above
    return False


@contextmanager
def pardoned(node: Keywords, problems: Problems) -> Iterator[None]:
    """Turn the problems found inside into warnings, if `node` may fail."""
    before = len(problems.errors)
    yield
    if len(problems.errors) > before and may_fail(node):
        warn_only(problems, before)


def warn_only(problems: Problems, before: int) -> None:
    """Turn all problems but the first `before` into warnings."""
    for problem in problems.errors[before:]:
        problems.warn(f"{problem.message}: a host that reaches this task fails", problem.mark)
    del problems.errors[before:]
