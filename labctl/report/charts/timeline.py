"""One run over time: curves in stacked plots, the phases as bands, the service as a strip below."""

from __future__ import annotations

from labctl.records import dataclass
from labctl.report import formats
from labctl.report.svg import Scale, Svg, ceiling, text_width, tick_texts, ticks

WIDTH, LEFT, RIGHT = 960.0, 66.0, 948.0
HEAD, GAP, STRIP, FOOT, LEGEND = 54.0, 22.0, 12.0, 18.0, 8.0


@dataclass(frozen=True, slots=True)
class Line:
    """`points`: (seconds, value); None breaks the curve. `colour`: 1 to 8. `faint`: on the source node."""

    label: str
    colour: int
    points: tuple[tuple[float, float] | None, ...]
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    label: str
    unit: str
    lines: tuple[Line, ...]
    height: float = 150.0


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times are seconds from the start of the migration. `bands`: (name, start, end). `service`: (start,
    end, answered) intervals. `mark`: the moment progress was regained."""

    name: str
    title: str
    caption: str
    span: tuple[float, float]
    plots: tuple[Plot, ...]
    bands: tuple[tuple[str, float, float], ...] = ()
    service: tuple[tuple[float, float, bool], ...] = ()
    mark: float | None = None

    def draw(self) -> str:
        legend = list(dict.fromkeys((li.label, li.colour) for plot in self.plots for li in plot.lines))
        plots = sum(plot.height + GAP for plot in self.plots)
        strip = STRIP + GAP if self.service else 0.0
        svg = Svg(WIDTH, HEAD + plots + strip - GAP + FOOT + 22 + LEGEND, self.title, self.caption)
        across = Scale(*self.span, LEFT, RIGHT)
        bottom = HEAD + plots + strip - GAP
        self._bands(svg, across, bottom)
        y = HEAD
        for plot in self.plots:
            self._plot(svg, across, plot, y)
            y += plot.height + GAP
        if self.service:
            self._service(svg, across, y)
        self._time_axis(svg, across, bottom)
        x = LEFT
        for label, colour in legend:
            svg.line(x, bottom + FOOT + 22, x + 18, bottom + FOOT + 22, f"curve s{colour}")
            svg.text(x + 24, bottom + FOOT + 26, label)
            x += 48 + text_width(label)
        if any(line.faint for plot in self.plots for line in plot.lines):
            svg.text(x, bottom + FOOT + 26, "dotted: on the source node", "muted")
        return svg.render()

    def _bands(self, svg: Svg, across: Scale, bottom: float) -> None:
        if self.bands:
            first, last = self.bands[0][1], self.bands[-1][2]
            free = -1.0
            for index, (name, start, end) in enumerate(self.bands):
                left, right = across(start), across(end)
                tooltip = f"{index + 1} {name}: {formats.quantity(end - start, 's')}"
                svg.rect(
                    left, HEAD, max(1.0, right - left), bottom - HEAD, f"band band{index % 2}", title=tooltip
                )
                number = str(index + 1)
                middle = (left + right) / 2
                if right - left > 11 and middle - 6 > free:
                    svg.text(middle, HEAD - 5, number, "muted small", anchor="middle")
                    free = middle + 6
            label = f"migration {formats.quantity(last - first, 's')}"
            svg.line(across(first), HEAD, across(last), HEAD, "band-edge")
            _label(svg, across(first), HEAD - 38, label, "strong")
        if self.mark is not None:
            x = across(self.mark)
            svg.line(x, HEAD - 30, x, bottom, "mark")
            _label(
                svg,
                x + 5,
                HEAD - 21,
                f"progress regained after {formats.quantity(self.mark, 's')}",
                "tone-mark",
            )

    def _plot(self, svg: Svg, across: Scale, plot: Plot, y: float) -> None:
        highest = max((p[1] for line in plot.lines for p in line.points if p), default=1.0)
        top = ceiling(highest * 1.04, 4)
        up = Scale(0, top, y + plot.height, y)
        marks = ticks(0, top, 4)
        for value, text in zip(marks, tick_texts(marks), strict=True):
            svg.line(LEFT, up(value), RIGHT, up(value), "axis" if value == 0 else "grid")
            svg.text(LEFT - 7, up(value) + 4, text, "muted", anchor="end")
        svg.text(13, y + plot.height / 2, f"{plot.label}, {plot.unit}", "", anchor="middle", rotate=-90)
        for line in plot.lines:
            points = [None if p is None else (across(p[0]), up(p[1])) for p in line.points]
            svg.path(points, f"curve s{line.colour}" + (" faint" if line.faint else ""), title=line.label)

    def _service(self, svg: Svg, across: Scale, y: float) -> None:
        svg.text(LEFT - 7, y + 10, "service", "muted", anchor="end")
        for start, end, answered in self.service:
            text = "answers" if answered else f"no answer for {formats.quantity(end - start, 's')}"
            left, right = across(max(start, self.span[0])), across(min(end, self.span[1]))
            svg.rect(left, y, max(right - left, 1.0), STRIP, "up" if answered else "down", title=text)

    def _time_axis(self, svg: Svg, across: Scale, bottom: float) -> None:
        marks = ticks(*self.span, 10)
        for value, text in zip(marks, tick_texts(marks), strict=True):
            svg.line(across(value), bottom, across(value), bottom + 5, "axis")
            svg.text(across(value), bottom + 18, f"{text} s", "muted", anchor="middle")


def _label(svg: Svg, x: float, y: float, text: str, cls: str) -> None:
    """Beside `x`, on the side where there is room."""
    fits = x + text_width(text, 12) < WIDTH
    svg.text(x if fits else x - 10, y, text, cls, anchor="start" if fits else "end")
