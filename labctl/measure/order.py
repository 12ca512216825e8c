"""The order in which the arms of a comparison are run, so that drift of the machine cancels."""

from __future__ import annotations

from collections.abc import Sequence


def abba(arms: Sequence[str], pairs: int) -> list[tuple[int, str]]:
    """(pair, arm) in running order, pairs counted from 1: each holds every arm once, every second one in
    reverse (A B, B A, …; A B C, C B A, …).

    Over an even number of pairs every arm has the same mean position, so a linear drift adds the same to
    each arm's mean and none to their differences, for any number of arms. Over an odd number the first and last
    arm are a pair's span apart. With three arms the middle one never runs first or last; a Latin square
    would vary that, but leaves drift inside a pair uncancelled unless the pairs are a multiple of three.

    Source: counter-balanced (ABBA) designs; Kalibera & Jones 2013 on the unit of repetition.
    ValueError for no arm, arms that are not distinct, or less than one pair."""
    if not arms or len(set(arms)) != len(arms):
        raise ValueError("the arms must be distinct, and at least one")
    if pairs < 1:
        raise ValueError("at least one pair")
    return [
        (pair, arm) for pair in range(1, pairs + 1) for arm in (arms if pair % 2 else list(reversed(arms)))
    ]
