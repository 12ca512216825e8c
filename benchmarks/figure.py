"""One picture of a run: how many times as long each peer takes, by workload."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.bars import TIMES
from benchmarks.statistics import Results
from benchmarks.table import number
from benchmarks.workload import PEERS, Workload
from labctl.report.svg import Svg

_WIDTH, _LEFT, _RIGHT, _ROW, _GAP, _TOP = 880.0, 300.0, 800.0, 17.0, 10.0, 34.0
_STYLE = """<style>
text{font:12px sans-serif;fill:#1f2328}.muted{fill:#656d76}.grid{stroke:#d0d7de}.axis{stroke:#1f2328}
.ansible{fill:#c0392b}.mitogen{fill:#d68910}.pyinfra{fill:#2471a3}.whisker{stroke:#1f2328}
@media (prefers-color-scheme: dark){text{fill:#e6edf3}.muted{fill:#9198a1}.grid{stroke:#3d444d}.axis,.whisker{stroke:#e6edf3}}
</style>"""


def draw(results: Results, workloads: Mapping[str, Workload]) -> str:
    """An SVG on its own, light or dark as its reader has it; a logarithmic axis of ratios to labctl's wall time."""
    groups = [
        (workload, [(peer, ratio) for peer in PEERS if (ratio := results.ratio(name, peer))])
        for name, workload in workloads.items()
    ]
    groups = [(workload, found) for workload, found in groups if found]
    highest = max((ratio.high for _, found in groups for _, ratio in found), default=10.0)
    decades = max(1, math.ceil(math.log10(highest)))
    height = _TOP + sum(_GAP + _ROW * len(found) for _, found in groups) + 30

    def x(value: float) -> float:
        return _LEFT + max(0.0, math.log10(max(value, 1.0))) / decades * (_RIGHT - _LEFT)

    svg = Svg(_WIDTH, height, "labctl beside its peers", "Wall time as a multiple of labctl's, logarithmic")
    svg.text(_LEFT, 14, "times as long as labctl (wall time, median; whiskers: all rounds)", "muted")
    for decade in range(decades + 1):
        svg.line(x(10**decade), _TOP - 8, x(10**decade), height - 24, "axis" if decade == 0 else "grid")
        svg.text(x(10**decade), height - 8, f"{10**decade}{TIMES}", "muted", anchor="middle")
    y = _TOP
    for workload, found in groups:
        svg.text(0, y + 13, f"{workload.name}: {workload.title}")
        for peer, ratio in found:
            svg.rect(
                x(1),
                y + 2,
                x(ratio.median) - x(1),
                _ROW - 4,
                peer,
                title=f"{peer}: {number(ratio.median)}{TIMES}",
            )
            if ratio.count > 1:
                svg.line(x(ratio.low), y + _ROW / 2, x(ratio.high), y + _ROW / 2, "whisker")
            svg.text(max(x(ratio.median), x(ratio.high)) + 6, y + 13, f"{number(ratio.median)}{TIMES} {peer}")
            y += _ROW
        y += _GAP
    head, rest = svg.render().split(">", 1)
    return f"{head}>{_STYLE}{rest}\n"
