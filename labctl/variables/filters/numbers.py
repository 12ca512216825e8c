"""Filters over numbers: sizes, logarithms, seeded chance."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from labctl.errors import VariableError

_PREFIXES = {
    name[0].upper(): name for name in ("kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta")
}
_UNITS = {unit: 1 << (10 * power) for power, unit in enumerate("BKMGTPEZY")}


def human_readable(size: Any, isbits: bool = False, unit: str | None = None) -> str:
    """`1536` -> "1.50 KB". Factors are 1024."""
    if not isinstance(size, int | float):
        raise VariableError(f"human_readable: '{size}' is not a number", hint="convert it: | int")
    count = float(size)
    letter = "b" if isbits else "B"
    for name, factor in sorted(_UNITS.items(), key=lambda item: -item[1]):
        chosen = unit is not None and unit.upper() == name
        if chosen or (unit is None and count >= factor) or name == "B":
            suffix = f"{name}{letter}" if name != "B" else ("bits" if isbits else "Bytes")
            return f"{count / factor:.2f} {suffix}"
    raise AssertionError(unit)


def human_to_bytes(size: Any, default_unit: str | None = None, isbits: bool = False) -> int:
    """`"10M"` -> 10485760."""
    found = re.fullmatch(r"([0-9]*\.?[0-9]+)(?:\s*([A-Za-z]+))?\s*", str(size))
    unit = ((found[2] or default_unit or "B") if found else "") or "?"
    letter = unit[0].upper()
    word = f"{_PREFIXES.get(letter, '')}{'bit' if isbits else 'byte'}"
    short = ("" if letter == "B" else letter) + ("b" if isbits else "B")
    if found is None or letter not in _UNITS or (len(unit) > 1 and unit != short and unit.lower() != word):
        hint = "like 10Mb, 1.5G or 4096" if isbits else "like 10M, 1.5GB or 4096"
        raise VariableError(f"human_to_bytes: '{size}' is not a size", hint=hint)
    return round(float(found[1]) * _UNITS[letter])


def _checked(name: str, compute: Callable[[], float]) -> float:
    try:
        return compute()
    except (TypeError, ValueError) as error:
        raise VariableError(f"{name}: {error}", hint="it takes numbers") from None


def logarithm(value: Any, base: float = math.e) -> float:
    return _checked("log", lambda: math.log10(value) if base == 10 else math.log(value, base))


def power(value: Any, exponent: Any) -> float:
    return _checked("pow", lambda: math.pow(value, exponent))


def root(value: Any, base: float = 2) -> float:
    return _checked("root", lambda: math.sqrt(value) if base == 2 else math.pow(value, 1.0 / float(base)))


def choose(end: Any, start: int | None = None, step: int | None = None, seed: Any = None) -> Any:
    """A random number below `end`, or a random item of a list; the same for the same `seed`."""
    chance = random.Random(seed) if seed is not None else random.SystemRandom()
    if isinstance(end, int):
        return chance.randrange(start or 0, end, step or 1)
    if not isinstance(end, Sequence) or start is not None or step is not None:
        raise VariableError("random: takes an integer (with start, step) or a list")
    if not end:
        raise VariableError("random: the list is empty")
    return chance.choice(end)


def shuffle(items: Any, seed: Any = None) -> list[Any]:
    shuffled = list(items)
    (random.Random(seed) if seed else random.SystemRandom()).shuffle(shuffled)
    return shuffled


FILTERS: dict[str, Callable[..., Any]] = {
    "human_readable": human_readable,
    "human_to_bytes": human_to_bytes,
    "log": logarithm,
    "pow": power,
    "root": root,
    "random": choose,
    "shuffle": shuffle,
}
