"""Student's t distribution for whole degrees of freedom, in closed form."""

from __future__ import annotations

import math


def within(t: float, df: int) -> float:
    """P(|T| <= t) for `df` >= 1. Source: Abramowitz & Stegun 26.7.3 (odd df) and 26.7.4 (even df)."""
    if df < 1:
        raise ValueError("at least one degree of freedom")
    theta = math.atan(abs(t) / math.sqrt(df))
    cosine_squared = math.cos(theta) ** 2
    odd = df % 2
    term = math.cos(theta) if odd else 1.0
    total = 0.0 if df == 1 else term
    for k in range(3 if odd else 2, df - 1, 2):
        term *= cosine_squared * (k - 1) / k
        total += term
    if odd:
        return 2 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total


def critical(level: float, df: int) -> float:
    """The t with P(|T| <= t) = `level`: 12.706 for 0.95 and 1 degree of freedom."""
    if not 0 < level < 1:
        raise ValueError("a level lies between 0 and 1")
    low, high = 0.0, 1.0
    while within(high, df) < level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if within(middle, df) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2
