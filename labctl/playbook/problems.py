"""Collecting every problem of a playbook, so that its author sees them all at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from labctl.errors import LabctlError, Mark, PlaybookError, VaultError
from labctl.yaml import Text


class PlaybookErrors(PlaybookError):
    """Several problems in one playbook; `problems` has them in the order of their positions."""

    def __init__(self, problems: Sequence[PlaybookError]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)

    def report(self) -> str:
        reports = [problem.report() for problem in self.problems]
        return "\n\n".join([*reports, f"{len(reports)} problems; no host was touched"])


class Problems:
    """What was found so far. `warnings` are (message, position). `lenient`: what is read now may never run
    (the file of a dynamic include), so a task type that is not known is no problem yet."""

    def __init__(self) -> None:
        self.errors: list[PlaybookError] = []
        self.warnings: list[tuple[str, Mark | None]] = []
        self.lenient = False
        self._lines: dict[str, list[str]] = {}

    def add(self, message: str, mark: Mark | None, hint: str | None = None) -> None:
        self.errors.append(PlaybookError(message, mark=mark, hint=hint))

    def warn(self, message: str, mark: Mark | None) -> None:
        if (message, mark) not in self.warnings:
            self.warnings.append((message, mark))

    @contextmanager
    def catch(self, mark: Mark | None = None) -> Iterator[None]:
        """Note an error raised inside, and go on after the block."""
        try:
            yield
        except PlaybookErrors as several:
            self.errors.extend(several.problems)
        except VaultError:
            raise  # the rest cannot be read either
        except LabctlError as error:
            as_problem = error if isinstance(error, PlaybookError) else _as_playbook_error(error)
            as_problem.mark = as_problem.mark or mark
            self.errors.append(as_problem)

    @contextmanager
    def may_never_run(self) -> Iterator[None]:
        before, self.lenient = self.lenient, True
        try:
            yield
        finally:
            self.lenient = before

    def raise_all(self) -> None:
        """Raise what was found: one problem as itself, several as PlaybookErrors; each only once."""
        unique = {(str(e.mark), e.message): e for e in self.errors}
        found = sorted(unique.values(), key=lambda e: (e.mark.line, e.mark.column) if e.mark else (0, 0))
        files = list(dict.fromkeys(e.mark.file if e.mark else "" for e in unique.values()))
        found.sort(key=lambda e: files.index(e.mark.file if e.mark else ""))
        if len(found) == 1:
            raise found[0]
        if found:
            raise PlaybookErrors(found)

    def locate(self, text: str, offset: int) -> Mark | None:
        """The position of a character inside a text, as exactly as its source lines allow."""
        mark = text.mark if isinstance(text, Text) else None
        if mark is None:
            return None
        lines = self._source(mark.file)
        source = lines[mark.line - 1][mark.column - 1 :] if mark.line <= len(lines) else ""
        shift = 1 if source[:1] in "'\"" else 0
        if source[:1] not in "|>" and source[shift:].startswith(text[: offset + 1]):
            return Mark(mark.file, mark.line, mark.column + shift + offset)
        return _in_lines(text, offset, mark, lines) or mark

    def _source(self, file: str) -> list[str]:
        if file not in self._lines:
            try:
                self._lines[file] = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                self._lines[file] = []
        return self._lines[file]


def _in_lines(text: str, offset: int, mark: Mark, lines: list[str]) -> Mark | None:
    """Inside a scalar over several lines, folded or not: on the lines below its start, each word of the
    text is looked for after the one before it."""
    row, column = (mark.line, 0) if lines[mark.line - 1 : mark.line] else (len(lines), 0)
    if row and lines[row - 1][mark.column - 1 : mark.column] not in "|>":
        row, column = row - 1, mark.column - 1
    for word in re.finditer(r"\S+", text):
        while row < len(lines) and (found := lines[row].find(word.group(), column)) < 0:
            row, column = row + 1, 0
        if row >= len(lines):
            return None
        column = found + len(word.group())
        if word.end() > offset:
            return Mark(mark.file, row + 1, found + offset - word.start() + 1)
    return None


def _as_playbook_error(error: LabctlError) -> PlaybookError:
    return PlaybookError(error.message, mark=error.mark, hint=error.hint)
