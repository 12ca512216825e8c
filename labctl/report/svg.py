"""A small SVG writer and the axis arithmetic the charts share.

Colours are CSS classes and custom properties of the page (`style.css` in templates/), so a picture
follows the reader's light or dark scheme. Every text is escaped here, once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from html import escape

from labctl.records import dataclass

CHARACTER = 0.56  # mean width of a character in a sans-serif font, in font sizes


def text_width(text: str, size: float = 12) -> float:
    return len(text) * size * CHARACTER


def shorten(text: str, width: float, size: float = 12) -> str:
    """`text` cut with an ellipsis so that it fits `width` pixels."""
    room = int(width / (size * CHARACTER))
    return text if len(text) <= room else text[: max(1, room - 1)] + "\u2026"


class Svg:
    """One picture. Coordinates are pixels of the view box, y downwards."""

    def __init__(self, width: float, height: float, title: str, description: str = "") -> None:
        self.width, self.height = width, height
        self._parts = [f"<title>{escape(title)}</title>"]
        if description:
            self._parts.append(f"<desc>{escape(description)}</desc>")

    def _add(self, tag: str, attributes: dict[str, object], title: str = "") -> None:
        inside = " ".join(
            f'{name.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
            for name, value in attributes.items()
            if value not in (None, "")
        )
        tooltip = f"<title>{escape(title)}</title>" if title else ""
        self._parts.append(f"<{tag} {inside}>{tooltip}</{tag}>" if tooltip else f"<{tag} {inside}/>")

    def rect(
        self, x: float, y: float, width: float, height: float, cls: str, *, radius: float = 0, title: str = ""
    ) -> None:
        attributes = {"x": x, "y": y, "width": max(0.0, width), "height": max(0.0, height), "class": cls}
        if radius:
            attributes["rx"] = radius
        self._add("rect", attributes, title)

    def line(self, x1: float, y1: float, x2: float, y2: float, cls: str, *, title: str = "") -> None:
        self._add("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": cls}, title)

    def circle(self, x: float, y: float, radius: float, cls: str, *, title: str = "") -> None:
        self._add("circle", {"cx": x, "cy": y, "r": radius, "class": cls}, title)

    def path(
        self, points: Iterable[tuple[float, float] | None], cls: str, *, title: str = "", closed: bool = False
    ) -> None:
        """Lines through the points; None breaks the line."""
        parts, pen_down = [], False
        for point in points:
            if point is None:
                pen_down = False
                continue
            parts.append(f"{'L' if pen_down else 'M'}{_text(point[0])} {_text(point[1])}")
            pen_down = True
        if parts:
            self._add("path", {"d": "".join(parts) + ("Z" if closed else ""), "class": cls}, title)

    def text(
        self, x: float, y: float, text: str, cls: str = "", *, anchor: str = "start", rotate: float = 0
    ) -> None:
        turned = f' transform="rotate({_text(rotate)} {_text(x)} {_text(y)})"' if rotate else ""
        kind = f' class="{escape(cls)}"' if cls else ""
        self._parts.append(
            f'<text x="{_text(x)}" y="{_text(y)}" text-anchor="{anchor}"{kind}{turned}>{escape(text)}</text>'
        )

    def render(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_text(self.width)} {_text(self.height)}"'
            f' role="img" preserveAspectRatio="xMinYMin meet">{"".join(self._parts)}</svg>'
        )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"
    return str(value)


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps [low, high] to [start, end] pixels, linearly."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten apart) within [low, high]."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """The ticks' texts, all with the decimals the finest of them needs."""
    step = min((b - a for a, b in itertools.pairwise(values)), default=1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return [f"{value:.{decimals}f}".replace("-", "\u2212") for value in values]


def ceiling(value: float, count: int = 5) -> float:
    """The first round number at or above `value`: the top of an axis that starts at 0."""
    if not value > 0:
        return 1.0
    marks = ticks(0, value * 1.0001, count)
    step = marks[1] - marks[0] if len(marks) > 1 else value
    return math.ceil(value / step - 1e-9) * step
