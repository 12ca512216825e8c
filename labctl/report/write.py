"""Writes a model as report.json, report.csv, report.md and report.html."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labctl.report.model import Model

FORMATS = ("json", "csv", "md", "html")


def write(model: Model, folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write the reports into a folder, each atomically; their paths come back."""
    written = []
    for name in formats:
        path = folder / f"report.{name}"
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(as_text(model, name), encoding="utf-8")
        temporary.replace(path)
        written.append(path)
    return written


def as_text(model: Model, form: str) -> str:
    makers: dict[str, Callable[[Model], str]] = {
        "json": as_json,
        "csv": as_csv,
        "md": _markdown,
        "html": _html,
    }
    return makers[form](model)


def as_json(model: Model) -> str:
    """report.json: every figure under a stable key; what has no value is null, never NaN."""
    from labctl.report.text import summary_of

    data = {**model.data, "summary": summary_of(model).splitlines()}
    return json.dumps(finite(data), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def finite(value: Any) -> Any:
    """`value` with every float JSON cannot hold (NaN, infinity) replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return value


def as_csv(model: Model) -> str:
    """One row per trial, for a spreadsheet."""
    columns = list(dict.fromkeys(key for row in model.rows for key in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(column)) for column in columns] for row in model.rows)
    return stream.getvalue()


def _csv_cell(value: Any) -> Any:
    value = finite(value)
    if value is None:
        return ""
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in "=+-@\t\r":
        return f"'{value}"  # a spreadsheet would take a node's text for a formula
    return value


def _markdown(model: Model) -> str:
    from labctl.report.pages import markdown

    return markdown(model)


def _html(model: Model) -> str:
    from labctl.report.pages import html

    return html(model)
