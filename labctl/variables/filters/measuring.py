"""`trials`: the order in which an experiment's arms are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labctl.errors import VariableError
from labctl.variables.filters.collections import as_list


def trials(strategies: Any, pairs: int = 1) -> list[dict[str, Any]]:
    """`['a', 'b'] | trials(pairs=4)`: each strategy once in every pair, in ABBA order, as a list of
    `{trial, pair, strategy, position}`, all counted from 1 (`position` within the pair)."""
    from labctl.measure.order import abba

    arms = [str(arm) for arm in as_list(strategies, "trials")]
    if not arms or len(set(arms)) != len(arms):
        raise VariableError("trials: needs a list of different strategies")
    if isinstance(pairs, bool) or not isinstance(pairs, int) or pairs < 1:
        raise VariableError(f"trials: pairs must be a whole number of 1 or more, not {pairs!r}")
    found: list[dict[str, Any]] = []
    positions: dict[int, int] = {}
    for trial, (pair, arm) in enumerate(abba(arms, pairs), start=1):
        positions[pair] = positions.get(pair, 0) + 1
        found.append({"trial": trial, "pair": pair, "strategy": arm, "position": positions[pair]})
    return found


FILTERS: dict[str, Callable[..., Any]] = {"trials": trials}
