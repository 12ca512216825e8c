"""The pictures of a notebook's limits, and the sections they stand in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from labctl.measure.limit_steps import Tried
from labctl.report import formats
from labctl.report.charts import Edge, Gauge, Gauges, Load, LoadPlot, Spot, Trace, Way
from labctl.report.model import Section
from labctl.report.notebook_found import Found, used_at_knee
from labctl.report.notebook_tables import repetition_table, result_table, step_table
from labctl.report.notebook_words import amount, does, label, limit, throughput, throughput_unit

MEBIBYTE = 2**20
_AXES = {
    "cpu": "busy processes",
    "memory": "memory allocated, MiB",
    "disk": "size of the file, MiB",
}


def sections(found: Sequence[Found]) -> Iterator[Section]:
    yield Section(
        "How much of each limit there is to use",
        "As shares of the container's limit.",
        figures=(gauges(found),),
        tables=(result_table(found),),
        folded=(repetition_table(found),),
    )
    for one in found:
        yield Section(label(one), _intro(one), figures=(load(one),), folded=(trace(one), step_table(one)))


def _intro(one: Found) -> str:
    result = one.result
    if one.resource == "cpu":
        return f"Processes that compute without pause, under a quota of {limit(one)}."
    ends = (
        f" From {amount(one, result.first_bad)} on it breaks: {result.cause}."
        if result.first_bad is not None
        else ""
    )
    return f"What happens as more and more bytes {does(one)}, under a limit of {limit(one)}.{ends}"


def gauges(found: Sequence[Found]) -> Gauges:
    return Gauges(
        "use",
        "Limits and what they leave",
        "Of memory, what the code of a cell may allocate is less than the limit: the kernel and its libraries need their"
        " part. Of the CPU, the bar is what was in use at the knee.",
        tuple(_gauge(one) for one in found),
    )


def _gauge(one: Found) -> Gauge:
    result, whole = one.result, one.limit
    if one.resource == "cpu":
        share = used_at_knee(one)
        words = f"no gain beyond {amount(one, result.knee)}" if result.knee else "no knee was shown"
        return Gauge(label(one), limit(one), share, share, share, words, broke=False)
    shares = [
        None if value is None or not whole else value / whole
        for value in (result.recommended, result.last_good)
    ]
    words = (
        f"{result.cause} at {amount(one, result.first_bad)}"
        if result.first_bad is not None
        else "no boundary found"
    )
    return Gauge(
        label(one), limit(one), shares[0], shares[1], result.share, words, result.first_bad is not None
    )


def load(one: Found) -> Load:
    whole = (100.0, f"limit {limit(one)}")
    plots = [
        LoadPlot("in use", "% of limit", _spots(one, _share, "%"), 1, 130.0, whole),
        LoadPlot(
            "throughput",
            throughput_unit(one),
            _spots(one, lambda step: throughput(one, step), throughput_unit(one)),
            3,
        ),
        LoadPlot("response p95", "ms", _spots(one, _number("responsiveness_ms", "p95"), "ms"), 2),
    ]
    if one.resource == "cpu":
        plots.append(LoadPlot("throttled", "% of time", _spots(one, _number("throttled_pct"), "%"), 4))
    return Load(
        f"load-{one.path.stem}",
        f"{label(one)}: what a growing load does",
        _caption(one),
        _AXES.get(one.resource, one.result.unit),
        tuple(plot for plot in plots if any(spot.y is not None for spot in plot.spots)),
        tuple(_edges(one)),
        whole=one.resource == "cpu",
    )


def _caption(one: Found) -> str:
    words = "Use of the limit, work done a second, and how long a trivial cell took to be answered meanwhile."
    if any(not step.good for step in one.search.steps):
        words += " Crosses: steps that broke, at what had been reached until then."
    return words


def _share(step: Tried) -> float | None:
    return None if step.in_use is None else 100 * step.in_use


def _number(*path: str) -> Callable[[Tried], float | None]:
    return lambda step: step.value(*path)


def _spots(one: Found, value: Callable[[Tried], float | None], unit: str) -> tuple[Spot, ...]:
    spots = []
    for step in one.search.steps:
        y = value(step)
        shown = "not measured" if y is None else f"{formats.digits(y)} {unit}"
        outcome = "held" if step.good else f"broke: {step.cause}"
        if step.crowded:
            outcome += ", others used the processors"
        tooltip = f"{amount(one, step.requested)}, repetition {step.repetition}: {shown}; {outcome}"
        spots.append(Spot(_x(one, step.requested), y, step.good, tooltip, step.crowded))
    return tuple(spots)


def trace(one: Found) -> Trace:
    def told(step: Tried) -> str:
        return f"{step.phase} {step.number}: {amount(one, step.requested)}, {step.cause or 'held'}"

    ways = tuple(
        Way(
            f"repetition {repetition.number}",
            tuple((_x(one, step.requested), step.good, told(step)) for step in repetition.steps),
        )
        for repetition in one.result.repetitions
    )
    unit = "processes" if one.resource == "cpu" else "MiB"
    caption = "Amounts in the order they were tried. Dots held, crosses broke."
    return Trace(f"trace-{one.path.stem}", f"{label(one)}: how it was searched", caption, unit, ways)


def _x(one: Found, value: float) -> float:
    return value if one.resource == "cpu" else value / MEBIBYTE


def _edges(one: Found) -> Iterator[Edge]:
    result = one.result
    if one.resource == "cpu":
        if result.knee is not None:
            held = f", {result.cause}" if result.cause else ""
            yield Edge(result.knee + 0.5, f"knee: {amount(one, result.knee)}{held}", "unsure", after=True)
    elif result.recommended:
        yield Edge(
            _x(one, result.recommended),
            f"recommended up to {amount(one, result.recommended)}",
            "good",
            after=False,
        )
    if result.first_bad is not None:
        at = _x(one, result.first_bad) - (0.5 if one.resource == "cpu" else 0)
        yield Edge(at, f"{result.cause} at {amount(one, result.first_bad)}", "bad", after=True)
