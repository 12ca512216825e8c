"""How values and durations read on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

_HIDDEN_KEYS = frozenset(
    {"failed", "changed", "skipped", "unreachable", "diff", "results", "msg", "invocation"}
    | {"ansible_loop_var", "ansible_index_var", "ansible_loop"}
)
_CODES = {
    "ok": "32",
    "changed": "33",
    "failed": "31",
    "unreachable": "1;31",
    "skipped": "36",
    "unknown": "35",
    "rescued": "33",
    "ignored": "36",
    "head": "1",
    "dim": "2",
    "warning": "35",
    "removed": "31",
    "added": "32",
}


class Paint:
    """ANSI colours, or none."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.on and text else text


def duration(seconds: float) -> str:
    """3.2 s, 1 min 05 s, 2 h 03 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def clean(text: str) -> str:
    """Text of a node without the control characters that would move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or (c.isprintable()) else "�" for c in text.replace("\r\n", "\n"))


def block(value: Any, indent: int = 4) -> Iterator[str]:
    """A value as YAML-like lines: long texts as blocks, no quotes where none are needed."""
    pad = " " * indent
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(f"{pad}{key}:", item, indent)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _entry(f"{pad}-", item, indent)
    else:
        for line in clean(_scalar(value)).splitlines() or [""]:
            yield pad + line


def _entry(head: str, item: Any, indent: int) -> Iterator[str]:
    if isinstance(item, Mapping | list | tuple):
        if not item:
            yield f"{head} {'{}' if isinstance(item, Mapping) else '[]'}"
            return
        yield head
        yield from block(item, indent + 4)
    elif isinstance(item, str) and "\n" in item.rstrip("\n"):
        yield f"{head} |"
        yield from block(item.rstrip("\n"), indent + 4)
    else:
        yield f"{head} {clean(_scalar(item)).rstrip()}"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def result_lines(result: Mapping[str, Any], *, everything: bool, indent: int = 4) -> Iterator[str]:
    """A result for a person: its message first, then what helps (rc, stdout, stderr, …)."""
    message = result.get("msg")
    if message not in (None, ""):
        if isinstance(message, str) and "\n" not in message.rstrip("\n"):
            yield " " * indent + clean(message)
        else:
            yield from block(message, indent)
    if everything:
        wanted = {k: v for k, v in result.items() if k not in _HIDDEN_KEYS and not _is_twin(k, result)}
    else:
        names = ("assertion", "rc", "cmd", "stdout", "stderr", "censored")
        wanted = {name: result[name] for name in names if result.get(name) not in (None, "", [])}
    if not wanted:
        return
    for name in ("ansible_loop_var", "ansible_index_var"):
        wanted.pop(str(result.get(name)), None)
    if isinstance(words := wanted.get("cmd"), list | tuple):
        wanted["cmd"] = shlex.join(map(str, words))
    yield from block({key: value for key, value in wanted.items() if value != message}, indent)


def _is_twin(key: str, result: Mapping[str, Any]) -> bool:
    """stdout_lines beside stdout says nothing new."""
    return key.endswith("_lines") and key.removesuffix("_lines") in result


def diff_lines(change: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A unified diff of one change as (style, line)."""
    import difflib

    yield "head", f"--- {change.get('what') or change.get('before_header') or 'before'}"
    before, after = (_diff_text(change.get(side)) for side in ("before", "after"))
    lines = list(difflib.unified_diff(before, after, "before", "after", lineterm="", n=3))
    for line in lines[2:]:
        style = "added" if line.startswith("+") else "removed" if line.startswith("-") else "dim"
        yield style, clean(line)


def _diff_text(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return value.splitlines()
    if isinstance(value, bytes):
        return value.decode(errors="replace").splitlines()
    return list(block(value, 0))
