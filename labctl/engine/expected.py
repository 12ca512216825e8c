"""What a dry run would have changed by now, and so what later tasks of it cannot know.

Each task's looks at its host are noted. A task that would change something, or may, leaves an `Effect`: the
paths and names it was about. A later task that looks at one of these has seen what is about to be different,
so its outcome is unknown. Unrelated tasks stay exact.
"""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator, Mapping
from posixpath import dirname, normpath
from typing import Any

from labctl.engine import results
from labctl.engine.looks import Look, Looks, below, is_path
from labctl.engine.results import Result
from labctl.records import dataclass, field
from labctl.task_types import Args

# What packages and builds fill: a file that is not there yet may come with one of them.
_SYSTEM = ("/bin", "/boot", "/etc", "/lib", "/lib64", "/opt", "/run", "/sbin", "/usr", "/var")
_BRING_NOTHING = frozenset(
    {"accounts", "cron", "groups", "hostname", "services", "sysctl", "systemd", "users"}
)
_MENTIONED = re.compile(r"(?<![\w./])/[\w.@%+-][\w.@%+/-]*")
_WORD = re.compile(r"[\w.@+-]+")
_ALWAYS_ACT = ("restarted", "reloaded")


@dataclass(frozen=True)
class Effect:
    """What one task would change, or may. `paths`: whether what lies below the path is meant as well.
    `names`: (kind, name) of packages, services, users. `words`: those of a command that is not run.
    `vague`: it may have done more than can be told."""

    task: str
    paths: Mapping[str, bool] = field(default_factory=dict)
    names: frozenset[tuple[str, str]] = frozenset()
    words: frozenset[str] = frozenset()
    vague: bool = False

    def touches(self, look: Look) -> bool:
        for path, subtree in self.paths.items():
            if look.path == path or (subtree and below(look.path, path)):
                return True
            if below(path, look.path) and (look.absent or look.deep):
                return True
        return False

    def may_bring(self, look: Look, *, concludes: bool) -> bool:
        """Whether a file that is not there yet may come with this: by its name, or when a task concludes
        something from its absence, by its place."""
        if not look.absent:
            return False
        named = {name for _kind, name in self.names}
        fills = self.vague or any(kind not in _BRING_NOTHING for kind, _name in self.names)
        placed = fills and concludes and any(below(look.path, top) for top in _SYSTEM)
        return placed or not named.isdisjoint(look.path.split("/"))

    def may_explain(self, looks: Looks) -> bool:
        """Whether a failure may have its cause in this not being done yet."""
        if self.vague or self.names:
            return True
        if looks.names:
            return bool(self.paths)
        near = [(path, dirname(look.path)) for path in self.paths for look in looks.paths]
        return any(below(look, path) or look == path or below(path, look) for path, look in near)


class Expected:
    """The effects so far, by machine. One for each dry run; tasks of several hosts use it at once."""

    def __init__(self) -> None:
        self._effects: dict[str, list[Effect]] = {}
        self._lock = threading.Lock()

    def judge(
        self, machine: str, task: str, args: Args, looks: Looks, result: Result, *, harmless: bool = False
    ) -> Result:
        """The result as far as it can be known after what tasks before would change on `machine`. `harmless`:
        the playbook says that this task changes nothing."""
        with self._lock:
            before = list(self._effects.get(machine, ()))
        reason = None if result.is_unknown or result.unreachable else _why(before, args, looks, result)
        if not harmless and (result.changed or result.is_unknown or (reason and not result.failed)):
            with self._lock:
                self._effects.setdefault(machine, []).append(_effect(task, args, looks, result))
        return result if reason is None else _unknown(reason, result)

    def carried_out(self, machine: str, args: Args, looks: Looks, result: Result) -> Result:
        """The same for a task that a dry run does carry out (`check_mode: false`): what it found may be
        different once the tasks before it have changed something."""
        with self._lock:
            before = list(self._effects.get(machine, ()))
        if result.is_unknown or result.unreachable:
            return result
        reason = _why(before, args, looks, result) or _of_text(before, args, result)
        return result if reason is None else _unknown(reason, result)


def _unknown(reason: str, result: Result) -> Result:
    unknown = results.unknown(reason)
    unknown.changes, unknown.diff = result.changes, result.diff
    return unknown


def _of_text(effects: list[Effect], args: Args, result: Result) -> str | None:
    """What its arguments name that is about to be different; anything at all may be the cause of a failure."""
    texts = list(_texts(args))
    words = {word for text in texts for word in _WORD.findall(text)}
    paths = set(_mentioned(texts))
    for effect in reversed(effects):
        about = words & ({name for _kind, name in effect.names} | effect.words)
        about |= {path for path in paths if any(below(path, top) or path == top for top in effect.paths)}
        if about and result.failed:
            return _failing(effect, result)
        if about:
            may = "may" if effect.vague or effect.words else "would"
            return f"'{min(about)}' is what '{effect.task}' {may} change, and this dry run has not"
    return _failing(effects[-1], result) if result.failed and effects else None


def _failing(effect: Effect, result: Result) -> str:
    said = result.values.get("msg", "it failed")
    return f"it fails as things are ({said}), but '{effect.task}' would change this host before"


def _why(effects: list[Effect], args: Args, looks: Looks, result: Result) -> str | None:
    """Why the outcome cannot be known; None when it can."""
    if getattr(args, "state", None) in _ALWAYS_ACT and result.changed:
        return None
    if result.failed and not looks.empty and (cause := _cause(effects, looks)):
        return _failing(cause, result)
    for effect in reversed(effects):
        if found := _seen(effect, looks, concludes=not result.changed):
            return found
    return None


def _cause(effects: list[Effect], looks: Looks) -> Effect | None:
    """What a failure may come from: the last that is about what the task has looked at, else about what is near."""
    near = [effect for effect in reversed(effects) if effect.may_explain(looks)]
    about = (effect for effect in near if _seen(effect, looks, concludes=False))
    return next(about, near[0] if near else None)


def _seen(effect: Effect, looks: Looks, *, concludes: bool) -> str | None:
    """Why what a task has looked at may be different by then. `concludes`: the task found nothing to do, which
    the absence of a file may have told it."""
    may = "may" if effect.vague or effect.words else "would"
    for look in looks.paths:
        if effect.touches(look):
            return f"{look.path} is what '{effect.task}' {may} change, and this dry run has not"
        if effect.may_bring(look, concludes=concludes):
            return f"{look.path} may come with '{effect.task}', which this dry run has not done"
    for kind, name in sorted(looks.names):
        if (kind, name) in effect.names or name in effect.words:
            return f"'{name}' is what '{effect.task}' {may} change, and this dry run has not"
    if whole := sorted(looks.surveys & {kind for kind, _name in effect.names}):
        return f"'{effect.task}' {may} change what {whole[0]} there are, and this dry run has not"
    return None


def _effect(task: str, args: Args, looks: Looks, result: Result) -> Effect:
    """What a task that would change something is about: where it says so itself that, else all it has seen."""
    told = [result.values.get(name) for name in ("path", "dest")]
    paths = {normpath(str(path)) for path in told if is_path(path)}
    texts = list(_texts(args))
    words: set[str] = set()
    if not paths:
        paths = {look.path for look in looks.paths}
        paths |= {normpath(text) for text in texts if is_path(text)}
        if result.is_unknown:
            paths |= set(_mentioned(texts))
            words = {word for text in texts for word in _WORD.findall(text)}
    shallow = result.values.get("state") == "directory" and not getattr(args, "recurse", True)
    names = frozenset(looks.names)
    vague = (result.is_unknown and not names) or not (paths or names)
    return Effect(task, dict.fromkeys(paths, not shallow), names, frozenset(words), vague)


def _texts(args: Args) -> Iterator[str]:
    for each in dataclasses.fields(args):
        yield from _strings(getattr(args, each.name))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _mentioned(texts: list[str]) -> Iterator[str]:
    """Absolute paths in the text of a command, but not that of the program itself."""
    for text in texts:
        for found in _MENTIONED.finditer(text):
            if found.start() or " " not in text:
                path = normpath(found.group())
                if not below(path, "/dev") and not below(path, "/proc"):
                    yield path
