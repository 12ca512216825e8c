"""Numbers as people read them: few digits, the right unit, a real minus sign."""

from __future__ import annotations

import math

MINUS, NARROW = "\u2212", "\u202f"
MISSING = "\u2013"


def digits(value: float, significant: int = 3) -> str:
    """`value` with so many significant digits, never in exponent form; whole numbers stay whole."""
    if value == 0:
        return "0"
    if abs(value) < 1e-6:
        return "<0.000001"
    rounded = float(f"{value:.{significant}g}")  # 9.999 has one digit less behind the point than 9.99
    decimals = max(0, significant - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{abs(value):.{min(decimals, 8)}f}"
    if float(value).is_integer():
        text = f"{abs(value):.0f}"
    whole, _, fraction = text.partition(".")
    if len(whole) > 4:
        whole = f"{int(whole):,}".replace(",", NARROW)
    text = f"{whole}.{fraction}" if fraction else whole
    return f"{MINUS}{text}" if value < 0 and text.strip("0.") else text


def quantity(value: float | None, unit: str, significant: int = 3) -> str:
    """A value in its unit, scaled where the unit allows: s to ms, B to KiB, MiB and GiB."""
    if value is None or not math.isfinite(value):
        return MISSING
    if unit == "s" and 0 < abs(value) < 0.9995:
        return f"{digits(value * 1000, significant)} ms"
    if unit == "B":
        return _bytes(value, significant)
    if unit == "%":
        return f"{digits(value, significant)}{NARROW}%"
    if unit in ("", "1"):
        return digits(value, significant)
    return f"{digits(value, significant)} {unit}"


def span(low: float | None, high: float | None, unit: str) -> str:
    """'0.44 to 0.49 s': both ends, the unit once where they share it."""
    first, last = quantity(low, unit), quantity(high, unit)
    head, _, scale = first.partition(" ")
    return f"{head} to {last}" if scale and scale == last.partition(" ")[2] else f"{first} to {last}"


def _bytes(value: float, significant: int) -> str:
    size = abs(value)
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= limit * 0.9995:
            return f"{digits(value / limit, significant)} {unit}"
    return f"{digits(value, significant)} B"


def percent(share: float | None, sign: bool = False) -> str:
    """A share (0.412) as whole percent, with a decimal where that matters (below 10 % or above 99 %)."""
    if share is None or not math.isfinite(share):
        return MISSING
    value = share * 100
    if value < -999:
        return f"<{MINUS}999{NARROW}%"  # "more than ten times as much" is all that is worth saying
    small = abs(value) < 9.95 or 99 < abs(value) < 99.95
    text = f"{abs(value):.{1 if small and value else 0}f}"
    if not text.strip("0."):
        return f"0{NARROW}%"
    prefix = MINUS if value < 0 else "+" if sign else ""
    return f"{prefix}{text}{NARROW}%"


def interval(low: float | None, high: float | None) -> str:
    """The interval of a reduction, both ends as shares."""
    if low is None or high is None:
        return MISSING
    return f"{percent(low).removesuffix(NARROW + '%')} to {percent(high)}"


def ratio(value: float | None) -> str:
    return MISSING if value is None or not math.isfinite(value) else f"{digits(value)}\u00d7"


def names(items: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"
