"""The Markdown and HTML pages, from the templates beside this module."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.report.model import Figure, Model, Table

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"
TONES = {"pass": "good", "fail": "bad", "not shown": "unsure", None: "plain"}


def html(model: Model) -> str:
    """One self-contained page: no script, nothing loaded from anywhere."""
    from markupsafe import Markup

    def draw(figure: Figure) -> Markup:
        return Markup(figure.draw())  # noqa: S704 - svg.Svg escapes every text that goes into it

    # The style sheet is labctl's own file.
    style = Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704
    template = _environment(escape=True).get_template("report.html.j2")
    return template.render(model=model, style=style, draw=draw, tones=TONES) + "\n"


def markdown(model: Model) -> str:
    text = _environment(escape=False).get_template("report.md.j2").render(model=model)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _environment(*, escape: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=escape,  # noqa: S701 - Markdown has its own escaping, `md`
        undefined=StrictUndefined,
        trim_blocks=False,
        keep_trailing_newline=False,
    )
    found.filters["md"] = escape_markdown
    found.tests["table"] = lambda item: isinstance(item, Table)
    return found


def escape_markdown(text: object) -> str:
    """Text that Markdown shows as it is, on one line, in a table cell too."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#])", r"\\\1", flat)
