"""How the figures of migrations are shown: headline, figures, tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from labctl.report import formats, load
from labctl.report.charts import Bar, Bars, Forest, Paired, Panel, Row, Timeline
from labctl.report.comparisons import Compared, latest, runs_of, spread
from labctl.report.curves import timeline
from labctl.report.metrics import BY_NAME, METRICS, PRIMARY, SOURCE_CPU, Metric
from labctl.report.model import Cell, Column, Finding, KeyFigure, Section, Table
from labctl.report.rawfiles import Run
from labctl.report.trials import TrialResult

_TONES = {"pass": "good", "fail": "bad", "not shown": "unsure", None: ""}
_HEADLINES = {
    PRIMARY: "{0} spends {1} CPU than {2} until the work is back where it was",
    SOURCE_CPU: "{0} runs on {1} CPU than {2} after the migration, by the source's method",
    "memory_mib_source": "{0} holds {1} memory than {2} after the migration, by the source's method",
}
_SHOWN = tuple(metric for metric in METRICS if metric.shown)


def subtitle(run: Run, results: Sequence[TrialResult], pairs: int, target: float) -> str:
    nodes = sorted(
        {str(r.trial.head[k]) for r in results for k in ("source", "target") if r.trial.head.get(k)}
    )
    profiles = sorted({str(r.trial.head["profile"]) for r in results if r.trial.head.get("profile")})
    parts = [
        f"{len(results)} migrations in {pairs} pairs" if len(results) > 1 else "1 migration",
        f"between {formats.names(nodes)}" if nodes else "",
        f"profile {', '.join(profiles)}" if profiles else "",
        f"under load {load.asked(run)}" if run.loads else "",
        f"judged against {formats.percent(target)}",
        f"run {run.folder.name}",
    ]
    return " \u00b7 ".join(part for part in parts if part)


def findings(
    results: Sequence[TrialResult], compared: Sequence[Compared], strategies: Sequence[str], target: float
) -> Iterator[Finding]:
    """A verdict per strategy against the baseline, for the three figures the certification is about."""
    if len(strategies) < 2:
        yield Finding(f"Only {strategies[0]} was run: there is nothing to compare it with.")
    for strategy in strategies[1:]:
        wanted = [c for c in compared if (c.baseline, c.strategy) == (strategies[0], strategy)]
        found = {c.metric.name: c for c in wanted if c.metric.name in _HEADLINES}
        if all(c.reduction is None for c in found.values()):
            why = formats.names(list(dict.fromkeys(c.reason for c in found.values())))
            yield Finding(f"{strategy} and {strategies[0]} cannot be compared: {why}.")
            continue
        for metric, sentence in _HEADLINES.items():
            medians = [_median(runs_of(results, s), metric) for s in (strategy, strategies[0])]
            yield _finding(found[metric], sentence, target, f"Medians: {medians[0]} against {medians[1]}.")


def _finding(c: Compared, sentence: str, target: float, medians: str) -> Finding:
    if c.reduction is None:
        return Finding(
            f"{c.strategy} and {c.baseline} cannot be compared by {_lower(c.metric.label)}: {c.reason}."
        )
    amount = formats.percent(abs(c.reduction)) + (" less" if c.reduction >= 0 else " more")
    size = f"n = {c.result.n} pair{'s' * (c.result.n != 1)}, target {formats.percent(target)}."
    bounds = (
        f"95\u202f% interval {formats.interval(c.low, c.high)} less" if c.low is not None else "No interval"
    )
    return Finding(
        sentence.format(c.strategy, amount, c.baseline) + ".", c.verdict, f"{bounds}, {size} {medians}"
    )


def _lower(label: str) -> str:
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def key_figures(results: Sequence[TrialResult], strategies: Sequence[str]) -> Iterator[KeyFigure]:
    """One tile per strategy: what it costs until the work is back, and what it breaks on the way."""
    for strategy in strategies:
        runs = runs_of(results, strategy)
        details = [
            f"{label} {_median(runs, metric)}"
            for label, metric in (
                ("downtime", "downtime_seconds"),
                ("training paused", "pause_seconds"),
                ("back after", "regained_seconds"),
                ("redone", "steps_redone"),
            )
        ]
        yield KeyFigure(f"{strategy}: CPU until regained", _median(runs, PRIMARY), ", ".join(details))


def _median(runs: Sequence[TrialResult], metric: str) -> str:
    values = [value for run in runs if (value := run.values[metric]) is not None]
    return formats.quantity(statistics.median(values), BY_NAME[metric].unit) if values else formats.MISSING


def sections(
    results: Sequence[TrialResult], compared: Sequence[Compared], strategies: Sequence[str], target: float
) -> Iterator[Section]:
    if len(strategies) > 1:
        yield Section(
            f"Against {strategies[0]}",
            "How much less of each the other strategies need, with the interval that holds the true value in 95 of 100"
            " experiments. A verdict is 'pass' only when the whole interval is at or above the target.",
            figures=(_forest(compared, strategies[0], target),),
            folded=(_comparison_table(compared),),
        )
    yield Section(
        "Every run",
        "Runs of one pair are joined; the thick bar is the median. Hollow dots are runs on a disturbed machine.",
        figures=(_paired(results, strategies),),
        tables=(_spread_table(results, strategies),),
    )
    first, others = _timelines(results, strategies)
    if first or others:
        yield Section(
            "Migrations over time",
            "The first undisturbed run of each strategy; the others can be unfolded.",
            figures=tuple(first),
            folded=tuple(others),
        )
    bars = _phases(results, strategies)
    yield Section("Phases", figures=(bars,) if bars.bars else (), folded=(_trial_table(results),))


def _forest(compared: Sequence[Compared], baseline: str, target: float) -> Forest:
    rows = tuple(
        Row(c.metric.label, c.strategy, c.reduction, c.low, c.high, c.result.n, c.verdict, c.reason)
        for c in compared
        if c.baseline == baseline and c.metric.shown
    )
    return Forest(
        "comparison",
        f"Reduction against {baseline}",
        "Dot: the estimate. Bar: its 95\u202f% interval; an arrow where it goes on beyond the axis."
        " Green passes the target, red fails it, amber shows neither.",
        rows,
        target,
    )


def _paired(results: Sequence[TrialResult], strategies: Sequence[str]) -> Paired:
    counted = latest(results)
    pairs = sorted({pair for pair, _ in counted})
    flagged = frozenset(key for key, result in counted.items() if result.noise)

    def panel(metric: Metric) -> Panel:
        values = {
            pair: {
                s: counted[pair, s].values[metric.name] if (pair, s) in counted else None for s in strategies
            }
            for pair in pairs
        }
        return Panel(metric.label, metric.unit, tuple(strategies), values, flagged)

    return Paired("runs", "All runs", "One dot per migration.", tuple(panel(metric) for metric in _SHOWN))


def _timelines(
    results: Sequence[TrialResult], strategies: Sequence[str]
) -> tuple[list[Timeline], list[Timeline]]:
    first: list[Timeline] = []
    others: list[Timeline] = []
    containers = sorted({name for result in results for name in result.trial.containers})
    colours = {name: index % 8 + 1 for index, name in enumerate(containers)}
    for strategy in strategies:
        runs = runs_of(results, strategy)
        chosen = next((run for run in runs if run.clean), runs[0])
        for run in runs:
            head = run.trial.head
            route = (
                f", {head['source']} to {head['target']}" if head.get("source") and head.get("target") else ""
            )
            noisy = " (disturbed)" if run.noise else ""
            title = f"{strategy}: trial {run.trial.number}{route}{noisy}"
            drawn = timeline(run.trial, f"trial-{run.trial.number}", title, colours)
            if drawn is not None:
                (first if run is chosen else others).append(drawn)
    return first, others


def _phases(results: Sequence[TrialResult], strategies: Sequence[str]) -> Bars:
    bars = [
        Bar(strategy, f"trial {run.trial.number}", tuple(run.phases))
        for strategy in strategies
        for run in runs_of(results, strategy)
        if run.phases
    ]
    caption = "From the start of the migration; what is not part of a phase is left out."
    return Bars("phases", "How long each phase took", caption, tuple(bars))


def _reduction_text(c: Compared) -> str:
    bounds = f" [{formats.interval(c.low, c.high)}]" if c.low is not None else ""
    return f"{formats.percent(c.reduction)}{bounds}"


def _comparison_table(compared: Sequence[Compared]) -> Table:
    columns = (
        Column("metric", "metric", numeric=False),
        Column("strategy", "strategy", numeric=False),
        Column("baseline", "against", numeric=False),
        Column("ratio", "ratio"),
        Column("reduction", "reduction [95\u202f% interval]"),
        Column("n", "pairs"),
        Column("p", "p"),
        Column("verdict", "verdict", numeric=False),
    )
    rows = tuple(
        (
            Cell(c.metric.label),
            Cell(c.strategy),
            Cell(c.baseline),
            Cell(formats.ratio(c.result.ratio)),
            Cell(_reduction_text(c), "" if c.low is not None else c.reason),
            Cell(str(c.result.n)),
            Cell(formats.MISSING if c.result.p is None else formats.digits(c.result.p, 2)),
            Cell(c.verdict or formats.MISSING, tone=_TONES[c.verdict]),  # type: ignore[arg-type]
        )
        for c in compared
    )
    note = (
        "Ratio: strategy over baseline. p: exact sign-flip permutation test that there is no difference; with n pairs it"
        " cannot be under 2/2\u207f."
    )
    return Table("comparisons", "All comparisons", columns, rows, note)


def _spread_table(results: Sequence[TrialResult], strategies: Sequence[str]) -> Table:
    columns = (
        Column("metric", "median, range, mean", numeric=False),
        *(Column(s, s) for s in strategies),
    )
    rows = []
    for metric in METRICS:
        cells = [Cell(metric.label)]
        for strategy in strategies:
            runs = runs_of(results, strategy)
            found = spread(runs, metric.name)
            if not found["n"]:
                cells.append(Cell(formats.MISSING, runs[0].reasons.get(metric.name, "")))
                continue
            mean = f"mean {formats.quantity(found['mean'], metric.unit)}"
            if found["stdev"] is not None:
                mean += f", sd {formats.quantity(found['stdev'], metric.unit, 2)}"
            note = f"{formats.span(found['min'], found['max'], metric.unit)}; {mean}"
            same = found["min"] == found["max"]
            middle = formats.quantity(found["median"], metric.unit)
            cells.append(Cell(middle, f"all {found['n']} alike" if same else note))
        rows.append(tuple(cells))
    return Table("strategies", "Each strategy's runs", columns, tuple(rows))


def _trial_table(results: Sequence[TrialResult]) -> Table:
    columns = (
        Column("trial", "trial"),
        Column("pair", "pair"),
        Column("strategy", "strategy", numeric=False),
        Column("route", "from, to", numeric=False),
        *(Column(metric.name, metric.label) for metric in _SHOWN),
        Column("state", "state", numeric=False),
        Column("restarted", "started again", numeric=False),
        Column("machine", "machine", numeric=False),
    )
    return Table("trials", "Every trial", columns, tuple(_trial_cells(result) for result in results))


def _trial_cells(result: TrialResult) -> tuple[Cell, ...]:
    head = result.trial.head
    state = head.get("state") or {}
    digest = str((state.get("after") or {}).get("sha256") or "")[:10]
    if result.error:
        machine = Cell("failed", result.error, "bad")
    elif result.noise:
        machine = Cell("disturbed", ", ".join(flag.name for flag in result.noise), "unsure")
    else:
        machine = Cell("quiet")
    continued = state.get("continued")
    return (
        Cell(str(result.trial.number)),
        Cell(str(result.pair)),
        Cell(result.strategy),
        Cell(f"{head.get('source', '?')}, {head.get('target', '?')}"),
        *(Cell(formats.quantity(result.values[metric.name], metric.unit)) for metric in _SHOWN),
        Cell({True: "continued", False: "lost", None: formats.MISSING}.get(continued, "?"), digest),
        Cell(formats.names(list(head.get("restarted") or [])) or "none"),
        machine,
    )


def method(results: Sequence[TrialResult], compared: Sequence[Compared]) -> Iterator[tuple[str, str]]:
    for metric in METRICS:
        yield metric.label, metric.definition
    yield (
        "Order",
        (
            "Strategies run in ABBA order, each once per pair, so that a drift of the machine cancels. The unit of"
            " replication is a whole migration."
        ),
    )
    ways = list(dict.fromkeys(c.reason for c in compared if c.low is not None))
    yield "Interval", "; ".join(ways[:3]) or "No interval could be made."
    yield (
        "Verdict",
        (
            "'pass' when the whole 95\u202f% interval of the reduction is at or above the target, 'fail' when all of it is"
            " below, 'not shown' otherwise."
        ),
    )
    ends = [recording.end for result in results for recording in result.trial.recordings if recording.end]
    cost = [end["cpu_seconds"] / end["wall_seconds"] for end in ends if end.get("wall_seconds")]
    if cost:
        yield (
            "Cost of measuring",
            f"The collector on a node used up to {formats.percent(max(cost))} of one CPU.",
        )


def summary(
    results: Sequence[TrialResult], compared: Sequence[Compared], strategies: Sequence[str]
) -> Iterator[Table]:
    """The terminal's two tables: what each strategy costs, and what it saves against the baseline."""
    rows = tuple(
        (Cell(metric.label), *(Cell(_median(runs_of(results, s), metric.name)) for s in strategies))
        for metric in _SHOWN
    )
    columns = (Column("metric", "median of the runs", numeric=False), *(Column(s, s) for s in strategies))
    yield Table("medians", "", columns, rows)
    if len(strategies) < 2:
        return
    columns = (
        Column("metric", f"less than {strategies[0]} [95\u202f% interval]", numeric=False),
        *(Column(s, s) for s in strategies[1:]),
    )
    by_key = {(c.metric.name, c.baseline, c.strategy): c for c in compared}
    found = [(m, [by_key[m.name, strategies[0], s] for s in strategies[1:]]) for m in _SHOWN if m.compared]
    yield Table(
        "reductions",
        "",
        columns,
        tuple(
            (
                Cell(m.label),
                *(Cell(f"{_reduction_text(c)} {(c.verdict or '').rjust(9)}".rstrip()) for c in cs),
            )
            for m, cs in found
        ),
    )
