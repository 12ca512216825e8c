"""Which packages labctl's start goes to: `python -X importtime`, summed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def summed(text: str, count: int = 10) -> list[tuple[str, float]]:
    """The `count` most expensive packages of an importtime listing, in milliseconds, each without what it imports of others."""
    totals: dict[str, float] = defaultdict(float)
    for microseconds, module in _LINE.findall(text):
        totals[module.partition(".")[0]] += int(microseconds) / 1000
    return sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))[:count]


def of_labctl(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> list[tuple[str, float]]:
    """Of one run of labctl with these arguments."""
    argv = [sys.executable, "-P", "-X", "importtime", "-m", "labctl", *arguments]
    done = subprocess.run(
        argv,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return summed(done.stderr)
