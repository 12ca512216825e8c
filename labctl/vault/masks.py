"""Secret texts, and taking them out of whatever is shown or written."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from labctl.events import Event, Kind

HIDDEN = "********"
_PRINTS = frozenset({"debug", "ansible.builtin.debug", "ansible.legacy.debug"})
_NOT_PRINTED = frozenset({"unknown", "failed", "unreachable", "ignored", "rescued"})  # it says why instead
_SHORTEST = 4  # a shorter text is in so many others that hiding it hides nothing else
_SHORTEST_WORD = 6  # of a vault: "inner" or "admin" is met in names and paths that are no secret
_OF_A_FILE = 8  # what a wholly encrypted file of variables says under an ordinary name
_NO_SECRET = ("true", "false", "none", "null")
_SECRET_NAME = re.compile(r"pass(?!ive)|secret|token|credential|api_?key|private_?key", re.IGNORECASE)
_PLAIN = re.compile(r"[a-z]+|[A-Z][a-z]+|(/[a-z0-9._-]+)+")  # words and paths, in what programs say


class Masks:
    """The secrets known so far; threads may share it. Some are `open`: a task that prints a value on
    purpose (debug) shows them, as it shows every other variable."""

    def __init__(self) -> None:
        self._closed: set[str] = set()
        self._open: set[str] = set()
        self._sorted: dict[bool, list[str]] = {True: [], False: []}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._closed or self._open)

    def add(self, secret: Any, *, open_: bool = False, named: bool = False) -> None:
        """A text, in the forms in which it may be met again: its lines, in JSON, in base64. `named`: its
        name says that it is secret."""
        text = str(secret)
        shortest = _SHORTEST_WORD if open_ and not named and text.isalpha() else _SHORTEST
        if not isinstance(secret, str | int) or len(text) < shortest or text.lower() in _NO_SECRET:
            return
        forms = {form for form in _forms(text) if len(form) >= _SHORTEST}
        with self._lock:
            known = self._open if open_ else self._closed
            if forms <= known:
                return
            known |= forms
            everything = self._closed | self._open
            # One may be a part of another: the longest goes first.
            self._sorted = {
                True: sorted(self._closed, key=len, reverse=True),
                False: sorted(everything, key=len, reverse=True),
            }

    def add_named(self, variables: Mapping[Any, Any]) -> None:
        """The texts of variables whose names say that they are secret."""
        for name, value in variables.items():
            if _SECRET_NAME.search(str(name)):
                for leaf in _leaves(value):
                    self.add(leaf, open_=True, named=True)
            elif isinstance(value, Mapping):
                self.add_named(value)

    def add_file(self, variables: Any) -> None:
        """What a wholly encrypted file of variables says: all that is long enough to be a secret."""
        if not isinstance(variables, Mapping):
            return
        self.add_named(variables)
        for leaf in _leaves(variables):
            if len(str(leaf)) >= _OF_A_FILE:
                self.add(leaf, open_=True)

    def add_result(self, values: Mapping[str, Any]) -> None:
        """What a task under `no_log` found out: it may be registered, and come back in other tasks."""
        for leaf in _found_out(values):
            text = str(leaf).strip()
            if len(text) >= _OF_A_FILE and not _PLAIN.fullmatch(text):
                self.add(text, open_=True)

    def hide(self, value: Any, *, on_purpose: bool = False) -> Any:
        """`value` with every secret in it replaced, whatever it is nested in."""
        secrets = self._sorted[on_purpose]
        return _hide(value, secrets) if secrets else value

    def event(self, event: Event) -> Event:
        """An event as it may be shown: what a task prints on purpose may be open secrets."""
        if not self or event.kind is Kind.STATS:
            return event
        data = self.hide(event.data)
        if event.data.get("action") in _PRINTS and event.data.get("status") not in _NOT_PRINTED:
            data["result"] = self.hide(event.data.get("result"), on_purpose=True)
        return replace(event, data=data, play=self.hide(event.play), task=self.hide(event.task))

    def longest_start(self, text: str) -> int:
        """How many characters at the end of `text` could be the beginning of a secret."""
        secrets = self._sorted[False]
        reach = min(len(text), len(secrets[0]) - 1) if secrets else 0
        for size in range(reach, 0, -1):
            end = text[-size:]
            if any(len(secret) > size and secret.startswith(end) for secret in secrets):
                return size
        return 0


class Flow:
    """Text that comes in pieces, held back where a secret might go on in the next one."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown now; the caller hides the secrets that are whole."""
        text = self._held + text
        keep = self._masks.longest_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        text, self._held = self._held, ""
        return text


def _forms(text: str) -> Iterator[str]:
    for form in {text, text.strip()}:
        yield form
        yield json.dumps(form)[1:-1]
        yield base64.b64encode(form.encode()).decode()
    for line in text.splitlines():
        if len(line.strip()) >= _OF_A_FILE:
            yield line.strip()


def _found_out(values: Mapping[str, Any]) -> Iterator[str | int]:
    for name in ("stdout", "stderr", "content", "json", "ansible_facts"):
        yield from _leaves(values.get(name))
    turns = values.get("results")
    for turn in turns if isinstance(turns, list) else ():
        if isinstance(turn, Mapping):
            yield from _found_out(turn)


def _leaves(value: Any) -> Iterator[str | int]:
    """Texts that are no templates, and numbers."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        if not getattr(value, "vault", False) and not (type(value) is not str and "{{" in value):
            yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value


def _hide(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        found: str = value
        for secret in secrets:
            if secret in found:
                found = found.replace(secret, HIDDEN)
        return found
    if isinstance(value, Mapping):
        return {_hide(key, secrets): _hide(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hide(item, secrets) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and str(value) in secrets:
        return HIDDEN
    return value
