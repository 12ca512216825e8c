"""Estimators of one window's samples: the source's trimmed mean, and the usual ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from labctl.measure.recording import Recording
from labctl.measure.series import Window, memory_at, millicores

MEBIBYTE = 1024 * 1024
SOURCE_SAMPLES = 20
SOURCE_TRIM = 3


def trimmed_mean(samples: Sequence[float], *, trim: int) -> float:
    """The mean without the `trim` lowest and the `trim` highest values. ValueError when none is left."""
    if trim < 0 or len(samples) <= 2 * trim:
        raise ValueError(f"{len(samples)} samples cannot lose {trim} at each end")
    return statistics.fmean(sorted(samples)[trim : len(samples) - trim])


def source_method(samples: Sequence[float], trim: int = SOURCE_TRIM, n: int = SOURCE_SAMPLES) -> float:
    """The certification text's estimator: `n` (20) samples sorted, the mean without the 3 lowest and the 3
    highest, so of 14. Unit as the samples'. ValueError for another number of samples: it is then another method.

    Source: "AI container migration CPU reduction test", Trimmed Mean of 20 samples."""
    if len(samples) != n:
        raise ValueError(f"the source's method takes {n} samples, not {len(samples)}")
    return trimmed_mean(samples, trim=trim)


def source_cpu_samples(
    recordings: Sequence[Recording], containers: Sequence[str], window: Window, n: int = SOURCE_SAMPLES
) -> list[float | None]:
    """`n` samples over a window in millicores: each the sum over the containers of Δcpu/Δt, with the true
    elapsed time where the source assumes one second, and all containers read at one moment where the
    source reads them one after the other."""
    step = window.seconds / n
    return millicores(recordings, containers, [window.start + i * step for i in range(n + 1)])


def source_memory_samples(
    recordings: Sequence[Recording],
    containers: Sequence[str],
    window: Window,
    n: int = SOURCE_SAMPLES,
    field: str = "memory",
) -> list[float | None]:
    """`n` samples over a window in MiB: the sum over the containers of memory.current (or another `field`)
    at the end of each step."""
    step = window.seconds / n
    held = [memory_at(recordings, containers, window.start + (i + 1) * step, field) for i in range(n)]
    return [None if value is None else value / MEBIBYTE for value in held]


def percentile(samples: Sequence[float], p: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least `p` percent are not above. Always a
    sample that occurred; 0 < p <= 100."""
    if not 0 < p <= 100 or not samples:
        raise ValueError("a percentile needs samples and 0 < p <= 100")
    return sorted(samples)[math.ceil(p / 100 * len(samples)) - 1]


def stdev(samples: Sequence[float]) -> float | None:
    """The sample standard deviation (n - 1), or None for fewer than two samples."""
    return statistics.stdev(samples) if len(samples) > 1 else None
