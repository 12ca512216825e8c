"""Kubernetes quantities: 500m of a core, 256Mi of memory."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_SUFFIX = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}
_FORM = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,2})|([A-Za-z]{1,2}))?")


def quantity(value: object) -> Decimal:
    """The number a quantity stands for (cores, bytes). ValueError says what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("a quantity is a number with an optional suffix, such as 500m, 1.5 or 256Mi")  # noqa: TRY004
    match = _FORM.fullmatch(str(value).strip())
    if not match:
        raise ValueError(f"'{value}' is not a quantity, such as 500m, 1.5, 256Mi or 1G")
    number, exponent, suffix = match.groups()
    if (suffix or "") not in _SUFFIX:
        raise ValueError(f"'{value}': unknown suffix '{suffix}'; known: {', '.join(filter(None, _SUFFIX))}")
    return Decimal(number) * Decimal(10) ** int(exponent or 0) * _SUFFIX[suffix or ""]


def millicores(value: object) -> int:
    """CPU in thousandths of a core, rounded up as Kubernetes does."""
    return math.ceil(quantity(value) * 1000)


def size_bytes(value: object) -> int:
    """Memory in bytes, rounded up as Kubernetes does."""
    return math.ceil(quantity(value))
