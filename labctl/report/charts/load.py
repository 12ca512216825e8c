"""What a growing load does: plots stacked over one axis of amounts, with what broke and where marked through all."""

from __future__ import annotations

import statistics
from typing import Literal

from labctl.records import dataclass
from labctl.report.svg import Scale, Svg, ceiling, text_width, tick_texts, ticks

WIDTH, LEFT, RIGHT = 960.0, 66.0, 948.0
ROW, TOP, GAP, FOOT, LEGEND = 19.0, 8.0, 22.0, 42.0, 26.0
ARM = 4.5  # of a cross

Tone = Literal["good", "bad", "unsure"]


@dataclass(frozen=True, slots=True)
class Spot:
    """One step: the amount, what was measured (None: nothing), whether it was good. `disturbed`: the figure says
    nothing."""

    x: float
    y: float | None
    good: bool
    tooltip: str
    disturbed: bool = False


@dataclass(frozen=True, slots=True)
class LoadPlot:
    """`reference`: a level and its name, such as the limit. `colour`: 1 to 8."""

    label: str
    unit: str
    spots: tuple[Spot, ...]
    colour: int
    height: float = 120.0
    reference: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A vertical line through all plots, from which on (`after`) or up to which the area has its tone."""

    x: float
    text: str
    tone: Tone
    after: bool


@dataclass(frozen=True, slots=True)
class Load:
    """`axis`: what the amounts are, with their unit. `whole`: they are counts."""

    name: str
    title: str
    caption: str
    axis: str
    plots: tuple[LoadPlot, ...]
    edges: tuple[Edge, ...] = ()
    whole: bool = False

    def draw(self) -> str:
        head = TOP + ROW * len(self.edges) + 6
        body = sum(plot.height + GAP for plot in self.plots) - GAP
        svg = Svg(WIDTH, head + body + FOOT + LEGEND, self.title, self.caption)
        across = self._across()
        self._edges(svg, across, head, head + body)
        y = head
        for plot in self.plots:
            _plot(svg, across, plot, y)
            y += plot.height + GAP
        self._axis(svg, across, head + body)
        _legend(svg, head + body + FOOT + 14, [spot for plot in self.plots for spot in plot.spots])
        return svg.render()

    def _across(self) -> Scale:
        known = [spot.x for plot in self.plots for spot in plot.spots] + [edge.x for edge in self.edges]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if self.whole:
            return Scale(low - 0.5, high + 0.5, LEFT, RIGHT)
        return Scale(0.0, high * 1.04 or 1.0, LEFT, RIGHT)

    def _edges(self, svg: Svg, across: Scale, top: float, bottom: float) -> None:
        for row, edge in enumerate(self.edges):
            x = across(edge.x)
            start, end = (x, RIGHT) if edge.after else (LEFT, x)
            svg.rect(start, top, end - start, bottom - top, f"zone zone-{edge.tone}")
            y = TOP + ROW * (row + 1) - 5
            svg.line(x, y - 9, x, bottom, f"edge edge-{edge.tone}")
            fits = x + 8 + text_width(edge.text) < WIDTH
            left = not fits or (not edge.after and x - 8 - text_width(edge.text) > 0)
            svg.text(
                x - 7 if left else x + 7, y, edge.text, f"tone-{edge.tone}", anchor="end" if left else "start"
            )

    def _axis(self, svg: Svg, across: Scale, bottom: float) -> None:
        marks = ticks(across.low, across.high, 12)
        if self.whole:
            marks = sorted({float(round(mark)) for mark in marks if across.low <= round(mark) <= across.high})
        for value, text in zip(marks, tick_texts(marks), strict=True):
            svg.line(across(value), bottom, across(value), bottom + 5, "axis")
            svg.text(across(value), bottom + 18, text, "muted", anchor="middle")
        svg.text((LEFT + RIGHT) / 2, bottom + 36, self.axis, "muted", anchor="middle")


def _plot(svg: Svg, across: Scale, plot: LoadPlot, y: float) -> None:
    known = [spot.y for spot in plot.spots if spot.y is not None]
    if plot.reference:
        known.append(plot.reference[0])
    top = ceiling(max(known, default=1.0) * 1.04, 4)
    if plot.reference and max(known) <= 1.1 * plot.reference[0]:
        top = 1.1 * plot.reference[0]
    up = Scale(0, top, y + plot.height, y)
    marks = ticks(0, top, 4)
    for value, text in zip(marks, tick_texts(marks), strict=True):
        svg.line(LEFT, up(value), RIGHT, up(value), "axis" if value == 0 else "grid")
        svg.text(LEFT - 7, up(value) + 4, text, "muted", anchor="end")
    svg.text(13, y + plot.height / 2, f"{plot.label}, {plot.unit}", "", anchor="middle", rotate=-90)
    if plot.reference:
        level, words = plot.reference
        svg.line(LEFT, up(level), RIGHT, up(level), "reference")
        svg.text(LEFT + 6, up(level) - 4, words, "muted small")
    line = [(across(x), up(middle)) for x, middle in _medians(plot)]
    svg.path(line, f"curve s{plot.colour}")
    for spot in plot.spots:
        if spot.y is None:
            continue
        at = across(spot.x), up(spot.y)
        if spot.good:
            kind = f"dot noisy s{plot.colour}" if spot.disturbed else f"spot f{plot.colour}"
            svg.circle(*at, 3.4, kind, title=spot.tooltip)
        else:
            cross(svg, *at, spot.tooltip)


def _medians(plot: LoadPlot) -> list[tuple[float, float]]:
    """(amount, median of the good steps that nobody disturbed), by amount."""
    found: dict[float, list[float]] = {}
    for spot in plot.spots:
        if spot.good and not spot.disturbed and spot.y is not None:
            found.setdefault(spot.x, []).append(spot.y)
    return [(x, statistics.median(found[x])) for x in sorted(found)]


def cross(svg: Svg, x: float, y: float, tooltip: str) -> None:
    svg.path(
        [(x - ARM, y - ARM), (x + ARM, y + ARM), None, (x - ARM, y + ARM), (x + ARM, y - ARM)],
        "cross",
        title=tooltip,
    )


def _legend(svg: Svg, y: float, spots: list[Spot]) -> None:
    x = LEFT + 5
    for wanted, words in (
        (True, "a step that held; the line is the median of the repetitions"),
        (any(spot.disturbed for spot in spots), "held, others used the processors"),
        (any(not spot.good for spot in spots), "a step that broke"),
    ):
        if not wanted:
            continue
        if words.startswith("held"):
            svg.circle(x, y - 4, 3.4, "dot noisy s8")
        elif words.endswith("broke"):
            cross(svg, x, y - 4, "")
        else:
            svg.circle(x, y - 4, 3.4, "spot f8")
        svg.text(x + 11, y, words, "muted")
        x += 34 + text_width(words)
