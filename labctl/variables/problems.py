"""Turns whatever a template raised into a `VariableError` at the author's line."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from types import TracebackType

import jinja2

from labctl.errors import LabctlError, Mark, UndefinedVariable, VariableError, did_you_mean
from labctl.variables.environment import TEMPLATE, Environment
from labctl.variables.undefined import Undefined, UndefinedUse


def translate(
    error: Exception, mark: Mark | None, names: Iterable[str], environment: Environment
) -> LabctlError:
    """`mark` is where the template's text begins; `names` are the variables the author may have meant."""
    if isinstance(error, LabctlError):
        if error.mark is None:
            error.mark = mark
        return error
    if isinstance(error, UndefinedUse):
        return undefined_error(error.undefined, place(error, mark), names)
    if isinstance(error, jinja2.TemplateSyntaxError):
        at = _in_file(error) or shift(mark, error.lineno)
        message = (error.message or "cannot be parsed").rstrip(".")
        return VariableError(f"template: {message}", mark=at, hint=_syntax_hint(message, environment))
    if isinstance(error, jinja2.TemplateNotFound):
        return VariableError(f"template: file '{error.name}' not found", mark=place(error, mark))
    if isinstance(error, jinja2.TemplateRuntimeError):
        message = str(error.message).rstrip(".")
        hint = _syntax_hint(message, environment)
        return VariableError(f"template: {message}", mark=place(error, mark), hint=hint)
    if isinstance(error, RecursionError):
        hint = "variables that refer to one another without end look like this"
        return VariableError("template: nested too deeply", mark=mark, hint=hint)
    detail = str(error) or type(error).__name__
    if isinstance(error, KeyError):
        detail = f"no key {detail}"
    return VariableError(f"template: {detail}", mark=place(error, mark))


def undefined_error(undefined: Undefined, mark: Mark | None, names: Iterable[str]) -> UndefinedVariable:
    message = undefined.problem()
    if undefined.owner:
        message += f" (needed by variable '{undefined.owner}')"
    near = names if undefined.is_variable else undefined.neighbours()
    at = undefined.origin or mark
    return UndefinedVariable(
        message, mark=_at_name(at, str(undefined.name)), hint=did_you_mean(str(undefined.name), near)
    )


def place(error: Exception, mark: Mark | None) -> Mark | None:
    """Where in the author's file the innermost template line of a traceback stands."""
    found: tuple[str, int] | None = None
    for frame, line in traceback.walk_tb(_traceback(error)):
        template = frame.f_globals.get("__jinja_template__")
        if isinstance(template, jinja2.Template):
            found = (template.filename or TEMPLATE, template.get_corresponding_lineno(line))
    if found is None:
        return shift(mark, getattr(error, "template_line", 1))
    file, line = found
    return shift(mark, line) if file == TEMPLATE else Mark(file, line, 1)


def _traceback(error: Exception) -> TracebackType | None:
    return error.__traceback__


def _in_file(error: jinja2.TemplateSyntaxError) -> Mark | None:
    named = error.filename and error.filename != TEMPLATE
    return Mark(str(error.filename), error.lineno, 1) if named else None


def shift(mark: Mark | None, line: int) -> Mark | None:
    """The position of a template's line `line` (1-based) when its text begins at `mark`."""
    if mark is None:
        return None
    first = _line(mark)[mark.column - 1 :]
    block = bool(re.match(r"[|>][-+0-9]*\s*(#.*)?$", first))
    if line == 1 and not block:
        return mark
    moved = Mark(mark.file, mark.line + line - (not block), 1)
    content = _line(moved)
    return Mark(moved.file, moved.line, len(content) - len(content.lstrip()) + 1)


def _at_name(mark: Mark | None, name: str) -> Mark | None:
    """The same line, at the first place from `mark` on where `name` stands as a word."""
    if mark is None or not name:
        return mark
    found = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)").search(_line(mark), mark.column - 1)
    found = found or re.compile(rf"(?<!\w){re.escape(name)}(?!\w)").search(_line(mark), mark.column - 1)
    return Mark(mark.file, mark.line, found.start() + 1) if found else mark


def _line(mark: Mark) -> str:
    try:
        with open(mark.file, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return ""
    return lines[mark.line - 1] if 1 <= mark.line <= len(lines) else ""


def _unknown(kind: str, name: str, names: Iterable[str]) -> str | None:
    short = name.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
    if "." not in short:
        return did_you_mean(short, (known for known in names if "." not in known))
    collection = short.rpartition(".")[0]
    return f"labctl reads no collections ({collection}); {kind}s of your own go into {kind}_plugins/"


def _syntax_hint(message: str, environment: Environment) -> str | None:
    for kind, names in (("filter", environment.filters), ("test", environment.tests)):
        if found := re.search(rf"[Nn]o {kind} named '([^']+)'", message):
            return _unknown(kind, found[1], names)
    if "unexpected '}'" in message or "unexpected end of" in message:
        return "is a '{{' or '{%' closed?"
    return None
