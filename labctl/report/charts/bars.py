"""Stacked horizontal bars: how long each phase took, one bar per run."""

from __future__ import annotations

from labctl.records import dataclass
from labctl.report import formats
from labctl.report.svg import Scale, Svg, ceiling, shorten, text_width, tick_texts, ticks

COLOURS = 12
WIDTH, LEFT, RIGHT = 960.0, 150.0, 880.0
ROW, BAR, TOP, BOTTOM, LEGEND = 26.0, 18.0, 8.0, 40.0, 22.0


@dataclass(frozen=True, slots=True)
class Bar:
    """`parts`: (name, seconds), in order. `note` stands behind the total."""

    group: str
    label: str
    parts: tuple[tuple[str, float], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    name: str
    title: str
    caption: str
    bars: tuple[Bar, ...]

    def draw(self) -> str:
        order = list(dict.fromkeys(name for bar in self.bars for name, _ in bar.parts))
        legend = _legend_rows(order)
        groups = len({bar.group for bar in self.bars})
        body = ROW * len(self.bars) + 8 * groups
        svg = Svg(WIDTH, TOP + body + BOTTOM + LEGEND * len(legend), self.title, self.caption)
        longest = max((sum(seconds for _, seconds in bar.parts) for bar in self.bars), default=1.0)
        scale = Scale(0, ceiling(longest, 8), LEFT, RIGHT)
        marks = ticks(0, scale.high, 8)
        for value, text in zip(marks, tick_texts(marks), strict=True):
            svg.line(scale(value), TOP, scale(value), TOP + body, "axis" if value == 0 else "grid")
            svg.text(scale(value), TOP + body + 16, f"{text} s", "muted", anchor="middle")
        y, group = TOP, None
        for bar in self.bars:
            if bar.group != group:
                y += 8
                svg.text(0, y + 15, shorten(bar.group, 110), "strong")
                group = bar.group
            svg.text(LEFT - 12, y + 15, bar.label, "muted", anchor="end")
            _bar(svg, scale, bar, y, order)
            y += ROW
        for index, row in enumerate(legend):
            y = TOP + body + BOTTOM + LEGEND * index
            for x, name in row:
                svg.rect(x, y - 9, 11, 11, f"f{order.index(name) % COLOURS + 1}", radius=2)
                svg.text(x + 17, y + 1, name)
        return svg.render()


def _bar(svg: Svg, scale: Scale, bar: Bar, y: float, order: list[str]) -> None:
    begin = 0.0
    for name, seconds in bar.parts:
        left, right = scale(begin), scale(begin + seconds)
        tooltip = f"{name}: {formats.quantity(seconds, 's')}"
        svg.rect(
            left, y, max(right - left - 0.8, 0.6), BAR, f"f{order.index(name) % COLOURS + 1}", title=tooltip
        )
        inside = formats.quantity(seconds, "s", 2)
        if right - left > text_width(inside, 11) + 8:
            svg.text((left + right) / 2, y + 13, inside, "on-fill", anchor="middle")
        begin += seconds
    total = formats.quantity(begin, "s")
    svg.text(scale(begin) + 7, y + 13, f"{total} {bar.note}".strip(), "")


def _legend_rows(names: list[str]) -> list[list[tuple[float, str]]]:
    rows: list[list[tuple[float, str]]] = [[]]
    x = LEFT
    for name in names:
        width = 34 + text_width(name)
        if x + width > WIDTH and rows[-1]:
            rows.append([])
            x = LEFT
        rows[-1].append((x, name))
        x += width
    return rows
