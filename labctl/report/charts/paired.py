"""Every run as a dot, runs of one pair joined by a line: nothing hides behind a mean."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from labctl.records import dataclass
from labctl.report import formats
from labctl.report.svg import Scale, Svg, ceiling, shorten, tick_texts, ticks

PER_ROW, WIDTH, GAP = 3, 960.0, 26.0
PANEL = (WIDTH - GAP * (PER_ROW - 1)) / PER_ROW
TITLE, PLOT, FOOT = 30.0, 140.0, 20.0
AXIS = 52.0


@dataclass(frozen=True, slots=True)
class Panel:
    """`pairs`: pair number -> {category: value or None}, in `unit`. `flagged`: (pair, category) of runs
    that were noisy."""

    title: str
    unit: str
    categories: tuple[str, ...]
    pairs: Mapping[int, Mapping[str, float | None]]
    flagged: frozenset[tuple[int, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Paired:
    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]

    def draw(self) -> str:
        rows = -(-len(self.panels) // PER_ROW)
        svg = Svg(WIDTH, rows * (TITLE + PLOT + FOOT + GAP) - GAP + 4, self.title, self.caption)
        for index, panel in enumerate(self.panels):
            x = (index % PER_ROW) * (PANEL + GAP)
            y = (index // PER_ROW) * (TITLE + PLOT + FOOT + GAP)
            _panel(svg, panel, x, y)
        return svg.render()


def _panel(svg: Svg, panel: Panel, x: float, y: float) -> None:
    factor, unit = _display_unit(panel)
    values = [v * factor for pair in panel.pairs.values() for v in pair.values() if v is not None]
    top = ceiling(max(values, default=1.0), 4)
    vertical = Scale(0, top, y + TITLE + PLOT, y + TITLE)
    svg.text(x, y + 15, shorten(panel.title, PANEL - 40, 13), "strong")
    svg.text(x + PANEL, y + 15, unit, "muted", anchor="end")
    marks = ticks(0, top, 4)
    for value, text in zip(marks, tick_texts(marks), strict=True):
        height = vertical(value)
        svg.line(x + AXIS, height, x + PANEL, height, "axis" if value == 0 else "grid")
        svg.text(x + AXIS - 7, height + 4, text, "muted", anchor="end")
    across = _positions(panel.categories, x + AXIS, x + PANEL)
    for category, position in across.items():
        found = [p[category] for p in panel.pairs.values() if p.get(category) is not None]
        numbers = [v * factor for v in found if v is not None]
        if numbers:
            middle = vertical(statistics.median(numbers))
            svg.line(position - 26, middle, position + 26, middle, "median")
        room = (PANEL - AXIS) / len(panel.categories) - 4
        label = f"{category} (no value)" if not numbers else category
        svg.text(position, y + TITLE + PLOT + 18, shorten(label, room), "", anchor="middle")
    for place, (number, pair) in enumerate(panel.pairs.items()):
        # Side by side, so that runs of the same value do not hide each other.
        aside = (place - (len(panel.pairs) - 1) / 2) * min(9.0, 40 / len(panel.pairs))
        points = [
            None if (there := pair.get(c)) is None else (across[c] + aside, vertical(there * factor))
            for c in panel.categories
        ]
        svg.path(points, "link")
        for category, spot in zip(panel.categories, points, strict=True):
            if spot is not None:
                noisy = (number, category) in panel.flagged
                text = f"{category}, pair {number}: {formats.quantity(pair[category], panel.unit)}"
                order = panel.categories.index(category) % 8 + 1
                shape = f"dot noisy s{order}" if noisy else f"dot f{order}"
                svg.circle(*spot, 4.5, shape, title=text + (" (noisy)" if noisy else ""))


def _display_unit(panel: Panel) -> tuple[float, str]:
    """What to multiply by so that the largest value reads well, and the unit then."""
    largest = max((v for pair in panel.pairs.values() for v in pair.values() if v is not None), default=0.0)
    if panel.unit == "s" and 0 < largest < 1:
        return 1000.0, "ms"
    if panel.unit == "B":
        return next(
            (
                (1 / limit, name)
                for limit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
                if largest >= limit
            ),
            (1.0, "B"),
        )
    return 1.0, panel.unit


def _positions(categories: tuple[str, ...], start: float, end: float) -> dict[str, float]:
    step = (end - start) / len(categories)
    return {category: start + step * (index + 0.5) for index, category in enumerate(categories)}
