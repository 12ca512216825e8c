"""A collector running on a node, its lines going straight into a file of the controller.

A collector is a program of its own (stdlib only) that writes JSON lines and ends on SIGTERM. It begins with a
header line and closes with an end line that gives its own cost; labctl adds `--host NAME` to its arguments.
What it imports from `parts` (a folder beside it) travels with it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.errors import PlaybookError, TaskFailed, did_you_mean
from labctl.node.api import Node
from labctl.node.bundle import with_siblings
from labctl.paths import builtin
from labctl.records import dataclass


def find_collector(name: str, playbook_dir: Path | None = None) -> Path:
    """The program of a collector: a path (relative to the playbook), or a name, looked up in `collectors/` beside
    the playbook and then among the built-in ones. PlaybookError when there is none."""
    beside = playbook_dir or Path.cwd()
    if name.endswith(".py") or "/" in name:
        path = beside / Path(name).expanduser()
        if path.is_file():
            return path
        raise PlaybookError(f"there is no collector {path}")
    folders = [beside / "collectors", builtin("collectors")]
    for folder in folders:
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    known = sorted(path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.py"))
    hint = did_you_mean(name, known) or f"there are: {', '.join(known)}"
    raise PlaybookError(f"unknown collector '{name}'", hint=hint)


def command_line(arguments: Mapping[str, Any]) -> list[str]:
    """{'interval': 0.1, 'pod': ['a', 'b'], 'verbose': True} as --interval 0.1 --pod a --pod b --verbose."""
    argv: list[str] = []
    for name, value in arguments.items():
        option = "--" + str(name).replace("_", "-")
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is True:
                argv.append(option)
            elif item is not None and item is not False:
                argv += [option, str(item)]
    return argv


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collector left behind. `samples`: snapshots or probes; `overhead` is its CPU as percent of one
    core while it collected. None where its end line does not say."""

    path: Path
    lines: int
    samples: int | None
    late: int | None
    missed: int | None
    cpu_seconds: float | None
    wall_seconds: float | None
    overhead: float | None


class Collection:
    """Start with the constructor; `stop` once. The file has every line that reached the controller, whatever
    happens later; it is flushed five times a second, for those who read it while it grows."""

    def __init__(
        self,
        node: Node,
        program: Path,
        arguments: Mapping[str, Any],
        path: Path,
        *,
        name: str | None = None,
        what: str = "collector",
        source: bytes | None = None,
        patience: float = 5.0,
    ) -> None:
        """TaskFailed when it ends at once, with what it wrote to stderr. `what` it is called in errors; `source` is what
        travels where that is not the program with its `parts`; `patience`: seconds to wait for its first line."""
        self.name = name or program.stem
        self._what = what
        self.host = node.host
        self.path = path
        self.header: Mapping[str, Any] | None = None
        self._last = ""
        self._lines = 0
        self._flushed = 0.0
        self._first = threading.Event()
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        argv = command_line({"host": node.host, **arguments})
        source = source or with_siblings(program, "parts", program.parent / "parts")
        try:
            self._stream = node.start(source, argv, line=self._take, name=self.name)
        except BaseException:
            self._file.close()
            raise
        deadline = time.monotonic() + patience
        while not self._first.wait(0.02) and self._stream.running and time.monotonic() < deadline:
            pass
        if not self._first.is_set() and not self._stream.running:
            self.stop()

    @property
    def running(self) -> bool:
        return self._stream.running

    def _take(self, line: str) -> None:
        with self._lock:
            if self._lines == 0:
                self.header = _typed(line, "header")
            self._file.write(line + "\n")
            self._lines += 1
            self._last = line
            now = time.monotonic()
            if now - self._flushed >= 0.2:
                self._file.flush()
                self._flushed = now
        self._first.set()

    def stop(self) -> Collected:
        """End it and close the file. TaskFailed when it had ended by itself without its end line: then what
        it measured is not complete."""
        died = not self._stream.running
        try:
            ended = self._stream.stop()
        except OSError as error:
            raise TaskFailed(f"cannot write {self.path}: {error.strerror}") from None
        finally:
            with self._lock:
                self._file.close()
        end = _typed(self._last, "end")
        if end is None and (self.header is not None or (died and ended.rc != 0)):
            errors = ended.error_text().strip()
            reason = errors.splitlines()[-1] if errors else f"exit status {ended.rc}"
            raise TaskFailed(
                f"{self._what} '{self.name}' on {self.host} ended early: {reason}",
                rc=ended.rc,
                stderr=errors,
                path=str(self.path),
            )
        return _collected(self.path, self._lines, end or {})


def _typed(line: str, kind: str) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and entry.get("type") == kind else None


def _collected(path: Path, lines: int, end: Mapping[str, Any]) -> Collected:
    used, lasted = end.get("cpu_seconds"), end.get("wall_seconds")
    return Collected(
        path=path,
        lines=lines,
        samples=end.get("samples", end.get("sent")),
        late=end.get("late"),
        missed=end.get("missed"),
        cpu_seconds=used,
        wall_seconds=lasted,
        overhead=used / lasted * 100 if used is not None and lasted else None,
    )
