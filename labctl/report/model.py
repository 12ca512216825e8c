"""What a report is, whatever was measured: one model that every format is made from.

A reducer (`labctl.report.KINDS`) reads a run's raw files and returns a `Model`. Its `data` is
report.json; the rest is how a person reads it. A figure that could not be measured is None, and the
reason is beside it; nothing here is ever guessed.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

from labctl.records import dataclass, field

Verdict = Literal["pass", "fail", "not shown"]


class Figure(Protocol):
    """A picture as data. `name` is unique in the report; `draw` gives a whole <svg> element."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def caption(self) -> str: ...

    def draw(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the headline: a verdict, or a statement without one."""

    text: str
    verdict: Verdict | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    key: str
    label: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """`text` as shown; `note` says why there is no value, or what to think of it; `tone` colours it."""

    text: str
    note: str = ""
    tone: Literal["", "good", "bad", "unsure"] = ""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement about the run that the raw files bear out (True), contradict (False), or that they
    cannot decide (None)."""

    text: str
    holds: bool | None
    evidence: str


@dataclass(frozen=True, slots=True)
class Section:
    """Figures and tables under a heading. `folded` ones are closed until asked for."""

    title: str
    intro: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Figure | Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """`summary`: the tables a terminal shows. `data`: report.json. `rows`: report.csv."""

    kind: str
    title: str
    subtitle: str
    findings: tuple[Finding, ...]
    key_figures: tuple[KeyFigure, ...]
    sections: tuple[Section, ...]
    claims: tuple[Claim, ...]
    method: tuple[tuple[str, str], ...]
    limits: tuple[str, ...]
    provenance: tuple[tuple[str, str], ...]
    summary: tuple[Table, ...]
    data: dict[str, Any] = field(default_factory=dict)
    rows: tuple[dict[str, Any], ...] = ()

    def tables(self) -> list[Table]:
        found: list[Table] = []
        for section in self.sections:
            found += [*section.tables, *(item for item in section.folded if isinstance(item, Table))]
        return found
