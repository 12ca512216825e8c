"""Say which pairs of this run's trials were disturbed, so that they can be run again.

A pair is disturbed when the machine was not quiet during a trial of it that counts (CPU used by others or taken by
the hypervisor, swapping, late samples, a clock that was set). Pairs with a failed trial are not named: a
failure is a result. Changes nothing.

    - noisy_pairs: {}
      register: noisy     # noisy.pairs: [2], noisy.last: 12, the highest number of a trial so far
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl.report.migration import noisy_pairs
from labctl.report.rawfiles import read_run
from labctl.task_types import Args, Context

ON_CONTROLLER = True


@dataclass(kw_only=True)
class Arguments(Args):
    pass


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    found = read_run(ctx.run_dir)
    pairs = noisy_pairs(found)
    said = ", ".join(map(str, pairs))
    return {
        "pairs": pairs,
        "last": max((trial.number for trial in found.trials), default=0),
        "msg": f"disturbed pairs: {said}" if pairs else "no pair was disturbed",
    }
