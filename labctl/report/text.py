"""The summary a terminal shows: the model's few most telling tables and its verdicts, in 100 columns."""

from __future__ import annotations

import textwrap

from labctl.report.formats import NARROW
from labctl.report.model import Model, Table

WIDTH = 100
_MARK = {"pass": "PASS", "fail": "FAIL", "not shown": "NOT SHOWN", None: "NOTED"}


def summary_of(model: Model) -> str:
    lines = [model.title, *textwrap.wrap(model.subtitle, WIDTH), ""]
    for table in model.summary:
        lines += [*_table(table), ""]
    width = max((len(_MARK[finding.verdict]) for finding in model.findings), default=0)
    for finding in model.findings:
        first = f"{_MARK[finding.verdict].ljust(width)}  "
        lines += textwrap.wrap(finding.text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first))
    return plain("\n".join(line.rstrip() for line in lines).strip("\n") + "\n")


def plain(text: str) -> str:
    """With ordinary spaces: not every terminal has a narrow one."""
    return text.replace(NARROW, " ")


def _table(table: Table) -> list[str]:
    """The table in aligned columns; columns that do not fit the width go below as a second block."""
    heads = [f"{c.label} ({c.unit})" if c.unit else c.label for c in table.columns]
    texts = [heads, *[[cell.text for cell in row] for row in table.rows]]
    widths = [max(len(row[index]) for row in texts) for index in range(len(heads))]
    lines = [table.title] if table.title else []
    rest = list(range(1, len(heads)))
    while rest:
        block, used = [0], widths[0]
        while rest and (len(block) == 1 or used + 3 + widths[rest[0]] <= WIDTH):
            used += 3 + widths[rest[0]]
            block.append(rest.pop(0))
        for number, row in enumerate(texts):
            parts = [
                row[index].rjust(widths[index])
                if table.columns[index].numeric
                else row[index].ljust(widths[index])
                for index in block
            ]
            lines.append("   ".join(parts))
            if number == 0:
                lines.append("\u2500" * min(WIDTH, used))
    return lines
