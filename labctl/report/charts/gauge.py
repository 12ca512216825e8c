"""How much of each limit there is to use: one bar per resource, the limit as its whole length."""

from __future__ import annotations

from labctl.records import dataclass
from labctl.report import formats
from labctl.report.svg import Scale, Svg, shorten, text_width

WIDTH, LEFT, RIGHT = 960.0, 150.0, 700.0
ROW, BAR, TOP, BOTTOM, LEGEND = 50.0, 24.0, 26.0, 26.0, 24.0


@dataclass(frozen=True, slots=True)
class Gauge:
    """Shares of the limit: what is `recommended`, what held at most (`held`), and what was in use then (`used`:
    with what the container needs itself). `limit` and `words` are text; `words` says where it broke and why."""

    label: str
    limit: str
    recommended: float | None
    held: float | None
    used: float | None
    words: str
    broke: bool


@dataclass(frozen=True, slots=True)
class Gauges:
    name: str
    title: str
    caption: str
    rows: tuple[Gauge, ...]

    def draw(self) -> str:
        bottom = TOP + ROW * len(self.rows)
        svg = Svg(WIDTH, bottom + BOTTOM + LEGEND, self.title, self.caption)
        highest = max((v for row in self.rows for v in (row.held, row.used) if v is not None), default=1.0)
        scale = Scale(0, max(1.08, min(highest, 1.5) + 0.04), LEFT, RIGHT)
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            svg.line(scale(share), TOP - 4, scale(share), bottom, "axis" if share in (0, 1) else "grid")
            svg.text(scale(share), bottom + 16, formats.percent(share), "muted", anchor="middle")
        svg.text(scale(1.0), TOP - 11, "the limit", "strong", anchor="middle")
        for index, row in enumerate(self.rows):
            _row(svg, scale, row, TOP + ROW * index + (ROW - BAR) / 2)
        _legend(svg, bottom + BOTTOM + 12)
        return svg.render()


def _row(svg: Svg, scale: Scale, row: Gauge, y: float) -> None:
    svg.text(0, y + 11, row.label, "strong")
    svg.text(0, y + 26, shorten(row.limit, LEFT - 14), "muted")
    edge = 0.0
    for share, kind, what in (
        (row.recommended, "gauge-use", "recommended"),
        (row.held, "gauge-room", "held, kept as head-room"),
        (row.used, "gauge-own", "in use besides: the container's own"),
    ):
        if share is None or share <= edge:
            continue
        end = min(share, scale.high)
        tooltip = f"{what}: up to {formats.percent(share)} of the limit"
        svg.rect(scale(edge), y, scale(end) - scale(edge), BAR, kind, title=tooltip)
        edge = end
    if row.recommended:
        text = formats.percent(row.recommended)
        room = scale(min(row.recommended, scale.high)) - scale(0)
        if room > text_width(text) + 12:
            svg.text(scale(0) + room - 7, y + 16, text, "on-fill", anchor="end")
    if row.broke:
        x = scale(min(max(edge, 0.0), scale.high))
        svg.line(x + 1, y - 6, x + 1, y + BAR + 6, "edge edge-bad")
    svg.text(RIGHT + 14, y + 16, shorten(row.words, WIDTH - RIGHT - 14), "tone-bad" if row.broke else "")


def _legend(svg: Svg, y: float) -> None:
    x = LEFT
    for kind, text in (
        ("gauge-use", "recommended"),
        ("gauge-room", "held, kept as head-room"),
        ("gauge-own", "what the notebook needs itself"),
    ):
        svg.rect(x, y - 10, 11, 11, kind, radius=2)
        svg.text(x + 17, y, text, "muted")
        x += 40 + text_width(text)
