"""Where a backslash in a template's string is a plain character.

YAML has already read the escapes of a value by the time it becomes a template, so that
`"{{ x | regex_replace('(.*)-x', '\\\\1') }}"` must hand `\\1` to the filter. A template file is not
YAML, and in a `{% … %}` statement Jinja2's own rule holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar

from jinja2.lexer import TOKEN_STRING, TOKEN_VARIABLE_BEGIN, TOKEN_VARIABLE_END, Lexer

backslashes: ContextVar[bool] = ContextVar("backslashes", default=False)


class BackslashLexer(Lexer):
    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[tuple[int, str, str]]:
        tokens = super().tokeniter(source, name, filename, state)
        return _doubled(tokens) if backslashes.get() else tokens


def _doubled(tokens: Iterator[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
    inside = False
    for line, kind, value in tokens:
        if kind in (TOKEN_VARIABLE_BEGIN, TOKEN_VARIABLE_END):
            inside = kind == TOKEN_VARIABLE_BEGIN
        yield line, kind, value.replace("\\", "\\\\") if inside and kind == TOKEN_STRING else value
