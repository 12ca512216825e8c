"""Reduce the run's raw files to a report.

Reads what the run's measuring tasks wrote into the run's folder, and writes `report.json` (every figure),
`report.csv` (a row per trial), `report.md` and `report.html` (figures, tables, method, limits). The same
can be made again at any time with `labctl report RUN`.

    - name: The report
      report:
        kind: migration
        target: 0.20

Returns `headline` (a line per finding), `summary` (the terminal's table), `verdicts` and `paths`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labctl import report
from labctl.report.text import plain
from labctl.task_types import Args, Change, Context, Steps, arg

ON_CONTROLLER = True


@dataclass(kw_only=True)
class Arguments(Args):
    kind: str = arg("migration", doc="What was measured.", choices=tuple(report.KINDS))
    target: float = arg(0.20, doc="The reduction to judge against, as a share: 0.2 is 20 %.")


def run(args: Arguments, ctx: Context) -> Steps:
    paths = [str(ctx.run_dir / f"report.{name}") for name in report.FORMATS]

    def reduce() -> dict[str, Any]:
        ctx.progress("reducing the raw files")
        model = report.reduce(ctx.run_dir, target=args.target, kind=args.kind)
        report.write(model, ctx.run_dir)
        return {
            "headline": [plain(finding.text) for finding in model.findings],
            "verdicts": model.data.get("verdicts", {}),
            "summary": report.render(model, "summary"),
        }

    made = yield Change(
        f"{', '.join(f'report.{name}' for name in report.FORMATS)} in the run's folder",
        reduce,
        unknown="only a real run has figures to reduce",
    )
    return {"paths": paths, **(made or {})}
