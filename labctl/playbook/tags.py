"""Which tasks `--tags` and `--skip-tags` choose."""

from __future__ import annotations

from collections.abc import Collection, Iterable

SPECIAL = frozenset({"always", "never", "all", "tagged", "untagged"})


def selected(tags: Iterable[str], only: Collection[str] = (), skip: Collection[str] = ()) -> bool:
    """Whether a task with these tags (own and inherited, rendered) runs. An empty `only` means all.

    `always` runs unless skipped by that name, `never` only when one of the task's tags was asked for;
    `all`, `tagged` and `untagged` stand for sets of tasks, in `only` and in `skip`."""
    own = set(tags) or {"untagged"}
    asked, unwanted = set(only) or {"all"}, set(skip)
    return _asked(own, asked) and not _unwanted(own, unwanted)


def _asked(own: set[str], asked: set[str]) -> bool:
    if "always" in own or own & asked:
        return True
    groups = {"all"} if own == {"untagged"} else {"all", "tagged"}
    return "never" not in own and bool(groups & asked)


def _unwanted(own: set[str], unwanted: set[str]) -> bool:
    if "all" in unwanted:
        return "always" not in own or "always" in unwanted
    return bool(own & unwanted) or ("tagged" in unwanted and own != {"untagged"})
