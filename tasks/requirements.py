"""Hold a node against a table of requirements, every measured value beside the required one.

Each row names what to measure and the minimum. A row ends as pass, fail, not measured (with the reason) or
not applicable. Unmet requirements fail the task only with `enforce`; the values say them in any case: `rows`,
`unmet`, and `table`, the lines to show a person.

What can be measured: `cpus`; `memory`; `storage:PATH` (size of its file system); `kernel`; `link` (speed of the
fastest real network link); `cgroup`; `program:NAME` (its version); `package:NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labctl.errors import PlaybookError, TaskFailed, did_you_mean
from labctl.task_types import Args, Context, arg, to_bool

_PLAIN = ("cpus", "memory", "kernel", "link", "cgroup")
_SUBJECT = ("storage", "program", "package")
_KEYS = ("item", "measure", "minimum", "applies", "otherwise")
_SIZES = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(kw_only=True)
class Arguments(Args):
    rows: list[dict[str, Any]] = arg(
        doc="Rows of `item` (what it is called), `measure`, `minimum` ('32 GB', '6.14', '1 Gbit/s'; a package"
        " needs none), and, where it is not meant for every node, `applies` (false: it is not) and `otherwise`"
        " (why not)."
    )
    enforce: bool = arg(False, doc="Fail when a requirement is not met.")
    title: str = arg("Requirements", doc="The table's heading.")


def run(args: Arguments, ctx: Context) -> dict[str, Any]:
    for row in args.rows:
        _check(row, ctx)
    subjects: dict[str, list[str]] = {kind: [] for kind in _SUBJECT}
    for row in args.rows:
        kind, _, subject = row["measure"].partition(":")
        if subject:
            subjects[kind].append(subject)
    measured = ctx.node.call(
        "capacity",
        "measure",
        paths=subjects["storage"],
        programs=subjects["program"],
        packages=subjects["package"],
    )
    rows = [_judge(row, measured) for row in args.rows]
    unmet = [row["item"] for row in rows if row["result"] == "fail"]
    table = _table(f"{args.title}: {ctx.host}", rows)
    met = sum(row["result"] == "pass" for row in rows)
    applicable = sum(row["result"] != "not applicable" for row in rows)
    verdict = f"{met} of {applicable} met" + (f", not met: {', '.join(unmet)}" if unmet else "")
    if unmet and args.enforce:
        raise TaskFailed(f"{ctx.host}: {verdict}", rows=rows, unmet=unmet, table=table.splitlines())
    return {"msg": verdict, "rows": rows, "unmet": unmet, "table": table.splitlines(), "changed": False}


def _check(row: Mapping[str, Any], ctx: Context) -> None:
    for key in row:
        if key not in _KEYS:
            raise PlaybookError(
                f"a row of 'requirements' has no '{key}'", mark=ctx.mark, hint=did_you_mean(str(key), _KEYS)
            )
    measure = str(row.get("measure", ""))
    kind, _, subject = measure.partition(":")
    if not (measure in _PLAIN or (kind in _SUBJECT and subject)):
        valid = [*_PLAIN, *(f"{name}:…" for name in _SUBJECT)]
        raise PlaybookError(
            f"'requirements' cannot measure '{measure}'",
            mark=ctx.mark,
            hint=did_you_mean(measure, _PLAIN) or f"it can: {', '.join(valid)}",
        )
    if not row.get("item"):
        raise PlaybookError("a row of 'requirements' needs 'item'", mark=ctx.mark)
    if kind != "package" and row.get("minimum") in (None, ""):
        raise PlaybookError(f"the row '{row['item']}' of 'requirements' needs 'minimum'", mark=ctx.mark)


def _judge(row: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    kind, _, subject = str(row["measure"]).partition(":")
    minimum = row.get("minimum", "installed")
    value, shown, reason = _value(kind, subject, measured)
    judged = {
        "item": row["item"],
        "required": str(minimum),
        "measured": shown,
        "value": value,
        "reason": reason,
    }
    if not to_bool(row.get("applies", True)):
        return {**judged, "result": "not applicable", "reason": row.get("otherwise")}
    if value is None:
        return {**judged, "result": "fail" if kind in ("program", "package") else "not measured"}
    return {**judged, "result": "pass" if _reaches(kind, value, minimum) else "fail"}


def _value(kind: str, subject: str, measured: Mapping[str, Any]) -> tuple[Any, str, str | None]:
    """The value compared, as it is shown, and why there is none."""
    if kind == "storage":
        size = measured["storage"][subject]
        return (size, _size(size), None) if size is not None else (None, "-", f"there is no {subject}")
    if kind == "memory":
        return measured["memory"], _size(measured["memory"]), None
    if kind == "link":
        speed = measured["link_mbps"]
        return (speed, f"{speed} Mbit/s", None) if speed else (None, "-", measured["link_reason"])
    if kind == "program":
        version = measured["programs"][subject]
        return version, version or "not installed", None
    if kind == "package":
        there = measured["packages"][subject] or None
        return there, "installed" if there else "not installed", None
    return measured[kind], str(measured[kind]), None


def _reaches(kind: str, value: Any, minimum: Any) -> bool:
    if kind in ("storage", "memory"):
        return bool(value >= _bytes(str(minimum)))
    if kind == "link":
        return bool(value >= _bytes(re.sub(r"(?i)b(it)?/s|be$", "B", str(minimum)).strip()) / 1e6)
    if kind == "cpus":
        return bool(value >= int(minimum))
    if kind == "cgroup":
        return bool(value == str(minimum))
    if kind == "package":
        return True
    return _version(str(value)) >= _version(str(minimum))


def _version(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text.split("-", maxsplit=1)[0])]


def _bytes(text: str) -> float:
    found = re.fullmatch(r"(?i)\s*([\d.]+)\s*([KMGT]?I?B?)\s*", text)
    unit = found.group(2).upper() if found else "?"
    unit = unit + "B" if unit in ("K", "M", "G", "T") else "" if unit == "B" else unit
    if found is None or unit not in _SIZES:
        raise PlaybookError(f"'{text}' is not a size", hint="for example '32 GB' or '10 GiB'")
    return float(found.group(1)) * _SIZES[unit]


def _size(size: int) -> str:
    for unit in ("TB", "GB", "MB"):
        if size >= _SIZES[unit]:
            return f"{size / _SIZES[unit]:.1f} {unit}"
    return f"{size} B"


def _table(title: str, rows: list[dict[str, Any]]) -> str:
    header = ("requirement", "required", "measured", "result")
    cells = [
        (str(row["item"]), row["required"], row["measured"], row["result"] + _because(row)) for row in rows
    ]
    widths = [max(len(line[i]) for line in (header, *cells)) for i in range(3)]
    lines = (header, tuple("-" * width for width in (*widths, 14)), *cells)
    texts = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, (*widths, 0), strict=True)) for line in lines
    )
    return "".join(f"{text.rstrip()}\n" for text in (title, *texts))


def _because(row: Mapping[str, Any]) -> str:
    return f" ({row['reason']})" if row["reason"] else ""
