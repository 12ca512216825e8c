"""The tables of a notebook's limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labctl.measure.limit_steps import Tried
from labctl.report import formats
from labctl.report.model import Cell, Column, Table
from labctl.report.notebook_found import Found, evenness, slowdown, used_at_knee
from labctl.report.notebook_words import amount, label, limit, spread, throughput, throughput_unit


def result_table(found: Sequence[Found]) -> Table:
    columns = (
        Column("resource", "resource", numeric=False),
        Column("limit", "limit"),
        Column("last_good", "last good"),
        Column("first_bad", "first bad"),
        Column("cause", "cause", numeric=False),
        Column("share", "of limit used"),
        Column("knee", "knee"),
        Column("spread", "repetitions differ by"),
        Column("recommended", "recommended"),
    )
    rows = []
    for one in found:
        result = one.result
        over = result.knees if one.resource == "cpu" else result.bounds
        used = used_at_knee(one) if one.resource == "cpu" else result.share
        rows.append(
            (
                Cell(label(one)),
                Cell(limit(one)),
                Cell(amount(one, result.last_good)),
                Cell(amount(one, result.first_bad)),
                Cell(result.cause or formats.MISSING),
                Cell(formats.percent(used)),
                Cell(amount(one, result.knee)),
                Cell(spread(over.share if over else None)),
                Cell(amount(one, result.recommended)),
            )
        )
    return Table("limits", "What was found", columns, tuple(rows))


def repetition_table(found: Sequence[Found]) -> Table:
    columns = (
        Column("resource", "resource", numeric=False),
        Column("repetition", "repetition"),
        Column("steps", "steps"),
        Column("last_good", "last good"),
        Column("first_bad", "first bad"),
        Column("cause", "cause", numeric=False),
        Column("share", "of limit used"),
        Column("knee", "knee"),
        Column("seconds", "took"),
    )
    rows = []
    for one in found:
        for repetition in one.result.repetitions:
            steps = repetition.steps
            times = [t for step in steps for t in (step.began, step.ended) if t is not None]
            rows.append(
                (
                    Cell(label(one)),
                    Cell(str(repetition.number)),
                    Cell(str(len(steps))),
                    Cell(amount(one, repetition.boundary.last_good)),
                    Cell(amount(one, repetition.boundary.first_bad)),
                    Cell(repetition.boundary.cause or formats.MISSING),
                    Cell(formats.percent(repetition.share)),
                    Cell(amount(one, repetition.knee)),
                    Cell(formats.quantity(max(times) - min(times), "s") if times else formats.MISSING),
                )
            )
    return Table("repetitions", "Every repetition", columns, tuple(rows))


def step_table(one: Found) -> Table:
    alone = one.resource == "cpu"
    columns = (
        Column("repetition", "rep."),
        Column("step", "step"),
        Column("phase", "phase", numeric=False),
        Column("requested", "requested"),
        Column("achieved", "achieved"),
        Column("pct", "of limit"),
        Column("throughput", "throughput", throughput_unit(one)),
        *((Column("slowdown", "slower than alone"), Column("even", "least to most work")) if alone else ()),
        Column("throttled", "throttled"),
        Column("p50", "response p50"),
        Column("p95", "p95"),
        Column("wall", "took"),
        Column("outcome", "outcome", numeric=False),
    )
    rows = tuple(_step_cells(one, step) for step in one.search.steps)
    return Table(f"steps-{one.path.stem}", f"{label(one)}: every step", columns, rows)


def _step_cells(one: Found, step: Tried) -> tuple[Cell, ...]:
    def ms(key: str) -> str:
        value = step.value("responsiveness_ms", key)
        return formats.MISSING if value is None else formats.quantity(value / 1000, "s")

    def percent(key: str) -> str:
        value = step.value(key)
        return formats.MISSING if value is None else formats.percent(value / 100)

    timeouts = step.value("responsiveness_ms", "timeouts")
    work = throughput(one, step)
    return (
        Cell(str(step.repetition)),
        Cell(str(step.number)),
        Cell(step.phase),
        Cell(amount(one, step.requested)),
        Cell(amount(one, step.value("achieved"))),
        Cell(formats.percent(step.in_use)),
        Cell(formats.MISSING if work is None else formats.digits(work)),
        *(
            (Cell(formats.ratio(slowdown(one, step))), Cell(formats.percent(evenness(step))))
            if one.resource == "cpu"
            else ()
        ),
        Cell(percent("throttled_pct")),
        Cell(ms("p50")),
        Cell(ms("p95"), f"{timeouts:.0f} without answer" if timeouts else ""),
        Cell(formats.quantity(step.value("wall_s"), "s")),
        _outcome(step),
    )


def _outcome(step: Tried) -> Cell:
    if not step.good:
        return Cell(str(step.cause), _died(step), "bad")
    return Cell(
        "held", "others used the processors" if step.crowded else "", "unsure" if step.crowded else "good"
    )


def _died(step: Tried) -> str:
    death: Any = step.death or {}
    parts = [
        f"{death['what']} died" if death.get("what") else "",
        f"signal {death['signal']}" if death.get("signal") else "",
        f"exit {death['exit']}" if death.get("exit") is not None and not death.get("signal") else "",
        f"oom_kill +{death['oom_kill']}" if death.get("oom_kill") else "",
        f"oom_group_kill +{death['oom_group_kill']}" if death.get("oom_group_kill") else "",
        f"errno {death['errno']}" if death.get("errno") else "",
        f"noticed after {formats.quantity(death['detected_after_s'], 's')}"
        if isinstance(death.get("detected_after_s"), int | float)
        else "",
    ]
    return ", ".join(part for part in parts if part)
