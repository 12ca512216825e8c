"""How a search went: the amounts it tried one after the other, a panel for each repetition."""

from __future__ import annotations

from labctl.records import dataclass
from labctl.report.charts.load import cross
from labctl.report.svg import Scale, Svg, ceiling, shorten, tick_texts, ticks

PER_ROW, WIDTH, GAP = 3, 960.0, 26.0
PANEL = (WIDTH - GAP * (PER_ROW - 1)) / PER_ROW
TITLE, PLOT, FOOT, AXIS = 30.0, 140.0, 24.0, 46.0


@dataclass(frozen=True, slots=True)
class Way:
    """One repetition: (amount, whether it was good, what a pointer over it reads), in order."""

    title: str
    steps: tuple[tuple[float, bool, str], ...]


@dataclass(frozen=True, slots=True)
class Trace:
    name: str
    title: str
    caption: str
    unit: str
    ways: tuple[Way, ...]

    def draw(self) -> str:
        rows = max(1, -(-len(self.ways) // PER_ROW))
        svg = Svg(WIDTH, rows * (TITLE + PLOT + FOOT + GAP) - GAP + 4, self.title, self.caption)
        top = ceiling(max((amount for way in self.ways for amount, _, _ in way.steps), default=1.0) * 1.04, 4)
        for index, way in enumerate(self.ways):
            x = (index % PER_ROW) * (PANEL + GAP)
            y = (index // PER_ROW) * (TITLE + PLOT + FOOT + GAP)
            _panel(svg, way, self.unit, top, (x, y))
        return svg.render()


def _panel(svg: Svg, way: Way, unit: str, top: float, corner: tuple[float, float]) -> None:
    x, y = corner
    up = Scale(0, top, y + TITLE + PLOT, y + TITLE)
    across = Scale(0.5, max(2, len(way.steps)) + 0.5, x + AXIS, x + PANEL)
    svg.text(x, y + 15, shorten(way.title, PANEL - 90, 13), "strong")
    svg.text(x + PANEL, y + 15, unit, "muted", anchor="end")
    marks = ticks(0, top, 4)
    for value, text in zip(marks, tick_texts(marks), strict=True):
        svg.line(x + AXIS, up(value), x + PANEL, up(value), "axis" if value == 0 else "grid")
        svg.text(x + AXIS - 7, up(value) + 4, text, "muted", anchor="end")
    points = [(across(number), up(amount)) for number, (amount, _, _) in enumerate(way.steps, 1)]
    svg.path(points, "link")
    for point, (_, good, tooltip) in zip(points, way.steps, strict=True):
        if good:
            svg.circle(*point, 3.4, "spot f1", title=tooltip)
        else:
            cross(svg, *point, tooltip)
    svg.text(x + PANEL, y + TITLE + PLOT + 18, f"{len(way.steps)} steps", "muted", anchor="end")
