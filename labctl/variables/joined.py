"""Templates that are nothing but texts and names of variables: by far the most, and Jinja2 is not needed for them."""

from __future__ import annotations

import keyword
import re
from functools import cached_property
from typing import Any

import jinja2
from jinja2.utils import missing

from labctl.errors import LabctlError
from labctl.variables.environment import Environment, Source, concat
from labctl.variables.undefined import Undefined

_NAME = re.compile(r"\{\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")
# Words of Jinja2 and Python; and names that lead to templates nobody has looked at.
_NO_NAME = frozenset({*keyword.kwlist, "true", "false", "none", "self", "super", "hostvars", "vars"})
_MARKUP = ("{{", "{%", "{#", "\r")


class Joined:
    """Texts and names in turn, beginning and ending with a (perhaps empty) text."""

    waits = varies = False

    def __init__(self, source: str, words: list[str], environment: Environment) -> None:
        self.source = source
        self.environment = environment
        self.newlines = len(source) - len(source.rstrip("\n"))
        words = [*words[:-1], words[-1].removesuffix("\n")]  # as Jinja2 has it: the caller adds them again
        self.names = words[1::2]
        self._parts = [(text, index % 2 == 1) for index, text in enumerate(words) if text]

    @classmethod
    def of(cls, source: str, environment: Environment) -> Joined | None:
        """None when there is more to it."""
        words = _NAME.split(source)
        texts, names = words[::2], words[1::2]
        if not _NO_NAME.isdisjoint(names) or any(mark in text for text in texts for mark in _MARKUP):
            return None
        if any(text.endswith("{") for text in texts[:-1]):
            return None
        return cls(source, words, environment)

    def value(self, names: Source) -> Any:
        """The native value; `missing` where Jinja2 has to say what is wrong."""
        found: list[Any] = []
        try:
            for text, is_name in self._parts:
                if not is_name:
                    found.append(text)
                elif (value := names.find(text)) is missing or type(value) is Undefined:
                    return missing
                else:
                    found.append(value)
            return concat(found)
        except LabctlError:
            raise
        except Exception:
            return missing

    @cached_property
    def whole(self) -> jinja2.Template:
        """The template as Jinja2 compiles it."""
        return self.environment.compile_text(self.source, escaped=True)
