"""The first line `#jinja2: trim_blocks: False, lstrip_blocks: True` of a template file."""

from __future__ import annotations

import ast
from typing import Any

from labctl.errors import VariableError, did_you_mean

PREFIX = "#jinja2:"

OPTIONS = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
)


def split_header(text: str) -> tuple[str, dict[str, Any]]:
    """The template without its option line, and the options. VariableError for one that does not exist."""
    if not text.startswith(PREFIX):
        return text, {}
    line, _, body = text.partition("\n")
    options: dict[str, Any] = {}
    for pair in line[len(PREFIX) :].split(","):
        name, colon, value = (part.strip() for part in pair.partition(":"))
        if not colon or name not in OPTIONS:
            hint = did_you_mean(name, OPTIONS)
            raise VariableError(f"'{PREFIX}' line: no Jinja2 option '{name}'", hint=hint)
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            raise VariableError(f"'{PREFIX}' line: '{value}' is not a Python literal") from None
    return body, options


def join_header(text: str, options: dict[str, Any]) -> str:
    """The inverse: `text` under an option line (`text` itself when it has one or none is needed)."""
    if text.startswith(PREFIX) or not options:
        return text
    return f"{PREFIX} " + ", ".join(f"{name}: {value!r}" for name, value in options.items()) + "\n" + text
