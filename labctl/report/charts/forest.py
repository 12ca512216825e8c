"""The comparison figure: one row per estimate, its interval as a bar, against 0 and the target."""

from __future__ import annotations

from labctl.records import dataclass
from labctl.report import formats
from labctl.report.model import Verdict
from labctl.report.svg import Scale, Svg, shorten, text_width, ticks

WIDTH, LEFT, RIGHT = 960.0, 312.0, 690.0
ROW, GROUP_GAP, TOP, BOTTOM = 25.0, 11.0, 34.0, 46.0
TONE = {"pass": "good", "fail": "bad", "not shown": "unsure", None: "plain"}


@dataclass(frozen=True, slots=True)
class Row:
    """A reduction against a baseline, as shares: 0.25 is a quarter less; None where it is unknown."""

    group: str
    label: str
    reduction: float | None
    low: float | None
    high: float | None
    n: int
    verdict: Verdict | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Forest:
    name: str
    title: str
    caption: str
    rows: tuple[Row, ...]
    target: float | None

    def draw(self) -> str:
        height = TOP + BOTTOM + ROW * len(self.rows) + GROUP_GAP * len({row.group for row in self.rows})
        svg = Svg(WIDTH, height, self.title, self.caption)
        scale = self._scale()
        self._axes(svg, scale, height)
        y, group = TOP, None
        for row in self.rows:
            if row.group != group:
                y += GROUP_GAP
                if group is not None:
                    svg.line(0, y - GROUP_GAP / 2, WIDTH, y - GROUP_GAP / 2, "grid")
                svg.text(0, y + 16, shorten(row.group, LEFT - 80, 12), "strong")
                group = row.group
            svg.text(LEFT - 14, y + 16, row.label, "", anchor="end")
            self._row(svg, scale, row, y + ROW / 2)
            y += ROW
        return svg.render()

    def _scale(self) -> Scale:
        known = [v for row in self.rows for v in (row.reduction, row.low, row.high) if v is not None]
        low = min([-0.1, *(max(v, -1.0) for v in known)])
        high = max([self.target or 0.0, 0.5, *known])
        return Scale(low - 0.02, min(1.0, high) + 0.02, LEFT, RIGHT)

    def _axes(self, svg: Svg, scale: Scale, height: float) -> None:
        bottom = height - BOTTOM + 6
        if self.target is not None:
            x = scale(self.target)
            svg.rect(x, TOP - 6, RIGHT - x, bottom - TOP + 6, "target-area")
        for value in ticks(scale.low, scale.high, 9):
            x = scale(value)
            svg.line(x, TOP - 6, x, bottom, "axis" if abs(value) < 1e-9 else "grid")
            svg.text(x, bottom + 15, formats.percent(value), "muted", anchor="middle")
        svg.text(
            (LEFT + RIGHT) / 2, bottom + 33, "reduction (to the right is less)", "muted", anchor="middle"
        )
        if self.target is not None:
            x = scale(self.target)
            svg.line(x, TOP - 6, x, bottom, "target")
            svg.text(x, TOP - 13, f"target {formats.percent(self.target)}", "strong", anchor="middle")
        svg.text(RIGHT + 18, TOP - 13, "reduction, 95\u202f% interval", "muted")
        svg.text(WIDTH, TOP - 13, "verdict", "muted", anchor="end")

    def _row(self, svg: Svg, scale: Scale, row: Row, y: float) -> None:
        tone = TONE[row.verdict]
        if row.reduction is None:
            room = WIDTH - RIGHT - 18
            svg.text(RIGHT + 18, y + 4, shorten(f"no value: {row.reason}", room, 12), "muted")
            return
        tooltip = f"{row.group}, {row.label}: {formats.percent(row.reduction)}, n = {row.n}"
        if row.low is not None and row.high is not None:
            start, end = scale(max(row.low, scale.low)), scale(min(row.high, scale.high))
            svg.line(start, y, end, y, f"interval {tone}", title=tooltip)
            if row.low >= scale.low:
                svg.line(start, y - 5, start, y + 5, f"interval {tone}")
            else:
                svg.path([(start + 7, y - 5), (start, y), (start + 7, y + 5)], f"interval {tone}")
            svg.line(end, y - 5, end, y + 5, f"interval {tone}")
        svg.circle(scale(max(row.reduction, scale.low)), y, 5, f"point {tone}", title=tooltip)
        main = formats.percent(row.reduction)
        svg.text(RIGHT + 18, y + 4, main, "strong")
        bounds = f"[{formats.interval(row.low, row.high)}]" if row.low is not None else "(no interval)"
        svg.text(RIGHT + 26 + max(40.0, text_width(main, 12)), y + 4, bounds, "")
        svg.text(WIDTH, y + 4, row.verdict or "", f"strong tone-{tone}", anchor="end")
