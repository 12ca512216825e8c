"""A run as one YAML document that grows: a list with an entry for each result, for people and programs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from labctl.console.out import Out
from labctl.events import Event, Kind

_PLAIN = re.compile(r"[A-Za-z_/][\w./ -]*[\w./]|[A-Za-z_]")  # a text that needs no quotes
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_KEPT = {
    Kind.PLAY_START: ("name", "hosts"),
    Kind.RESULT: ("status", "seconds", "unknown", "delegated", "changes", "diff", "mark", "result"),
    Kind.ITEM: ("status", "label", "result"),
    Kind.WARNING: ("message", "mark"),
    Kind.MESSAGE: ("message",),
    Kind.STATS: ("hosts",),
    Kind.RUN_END: ("exit_code", "seconds", "run_dir"),
}
_NAMES = {
    Kind.PLAY_START: "play",
    Kind.RESULT: "task",
    Kind.ITEM: "item",
    Kind.WARNING: "warning",
    Kind.MESSAGE: "message",
    Kind.STATS: "recap",
    Kind.RUN_END: "end",
}


class YamlDocument:
    """Subscriber that writes each event's entry when it happens, so that the text is valid YAML at any time."""

    def __init__(self, stream: TextIO) -> None:
        self._out = Out(stream)
        self.flush = self.close = self._out.flush

    def __call__(self, event: Event) -> None:
        if event.kind not in _KEPT:
            return
        entry = _entry(event)
        lines = list(entries(entry, 2))
        self._out("\n".join(["- " + lines[0].lstrip(), *lines[1:]]))


def _entry(event: Event) -> dict[str, Any]:
    given = event.data
    kept = {name: given[name] for name in _KEPT[event.kind] if given.get(name) not in (None, [], "")}
    name = _NAMES[event.kind]
    match event.kind:
        case Kind.RESULT | Kind.ITEM:
            return {name: event.task, "host": event.host, **kept}
        case Kind.PLAY_START:
            return {name: kept.pop("name", None), **kept}
        case Kind.WARNING | Kind.MESSAGE:
            return {name: kept.pop("message", ""), **kept}
        case Kind.STATS:
            return {name: kept.get("hosts", {})}
        case _:
            return {name: kept}


def entries(value: Any, indent: int) -> Iterator[str]:
    """The lines of a mapping or sequence in block style, below `indent` blanks."""
    pad = " " * indent
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pair(f"{pad}{scalar(str(key))}:", item, indent)
    else:
        for item in value:
            yield from _pair(f"{pad}-", item, indent)


def _pair(head: str, item: Any, indent: int) -> Iterator[str]:
    if isinstance(item, Mapping | list | tuple | set | frozenset):
        if item:
            yield head
            yield from entries(item, indent + 2)
        else:
            yield f"{head} {'{}' if isinstance(item, Mapping) else '[]'}"
        return
    text = item.decode(errors="replace") if isinstance(item, bytes) else item
    if isinstance(text, str) and _fits_block(text):
        yield f"{head} |{'' if text.endswith(chr(10)) else '-'}"
        yield from (f"{' ' * (indent + 2)}{line}" if line else "" for line in text.splitlines())
    else:
        yield f"{head} {scalar(text)}"


def _fits_block(text: str) -> bool:
    body = text.removesuffix("\n")
    return (
        "\n" in body
        and not body.startswith((" ", "\n"))
        and not body.endswith("\n")
        and all(character == "\n" or character.isprintable() for character in body)
    )


def scalar(value: Any) -> str:
    """A value on one line, in quotes where YAML would take it for something else."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
