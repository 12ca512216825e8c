"""The results as Markdown, which also reads well on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bars import TIMES, Verdict, verdicts
from benchmarks.statistics import Results, Spread
from benchmarks.workload import Workload

_MEBI = 1 << 20
_DASH = "\u2013"
_LEGEND = (
    "Medians (lowest to highest); ratios are of medians (lowest over highest to highest over lowest). `labctl:first` is the "
    "same play with its first task alone. Memory is the peak of all of a tool's processes. Every run was checked to have "
    "done all of the work."
)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def spread(value: Spread | None, unit: str = "") -> str:
    """`median unit (low to high)`; of one value alone, that."""
    if value is None:
        return _DASH
    text = f"{number(value.median)}{unit}"
    return text if value.count == 1 else f"{text} ({number(value.low)}{_DASH}{number(value.high)})"


def rows(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in (header, *body)) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (header, *body)
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def measured(results: Results, workloads: Mapping[str, Workload]) -> str:
    header = [
        "workload",
        "tool",
        "rounds",
        "wall s",
        f"{TIMES} labctl",
        "CPU s",
        f"{TIMES} labctl",
        "memory MiB",
    ]
    body = []
    for name, workload in workloads.items():
        for tool in workload.tools:
            wall = results.spread(name, tool)
            if wall is None:
                continue
            alone = tool == "labctl" or ":" in tool
            cpu, memory = results.spread(name, tool, "cpu"), results.spread(name, tool, "memory")
            body.append(
                [
                    f"{name}: {workload.title}",
                    tool,
                    str(wall.count),
                    spread(wall),
                    "" if alone else spread(results.ratio(name, tool)),
                    spread(cpu),
                    "" if alone else spread(results.ratio(name, tool, what="cpu")),
                    number(memory.median / _MEBI) if memory else _DASH,
                ]
            )
    return rows(header, body)


def bars(found: Sequence[Verdict]) -> str:
    header = ["workload", "bar", "needed", "measured", "verdict"]
    sign = {">=": "≥", "<=": "≤"}
    body = [
        [
            each.bar.workload,
            each.bar.text,
            f"{sign[each.bar.side]} {each.bar.limit:g} {each.bar.unit}".strip(),
            _DASH if each.value is None else f"{number(each.value)} {each.bar.unit}".strip(),
            each.word,
        ]
        for each in found
    ]
    return rows(header, body)


def imports(found: Sequence[tuple[str, float]], what: str) -> str:
    body = [[package, number(milliseconds)] for package, milliseconds in found]
    return rows([f"imported by {what}", "ms"], body)


def page(results: Results, workloads: Mapping[str, Workload], about: Mapping[str, Any]) -> str:
    """Everything, as results.md holds it."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    machine = about["machine"]
    loads = f"load {machine['load_before']:.2f} before and {machine['load_after']:.2f} after"
    hardware = f"{machine['processors']} processors ({machine['model']}), {machine['memory_gib']} GiB"
    parts = [
        "# labctl beside its peers",
        f"{about['started']}. {versions}.",
        f"{hardware}, Linux {machine['kernel']}; {loads}.",
        *(
            [f"The slow network's round trip: {about['round_trip'] * 1000:.1f} ms."]
            if about["round_trip"]
            else []
        ),
        *[f"Not run: {text}." for text in about["not_run"]],
        "## Bars",
        bars([verdict for verdict in verdicts(results) if verdict.bar.workload in workloads]),
        "## Measured",
        _LEGEND,
        measured(results, workloads),
        *[
            f"FAILED: {name} with {tool}: {why}."
            for name, tools in results.failed.items()
            for tool, why in tools.items()
        ],
        *[imports(found, what) for what, found in about["imports"].items()],
    ]
    return "\n\n".join(parts) + "\n"
