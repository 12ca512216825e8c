"""Options written into a lookup's term: `"key file=users.csv col=2"`."""

from __future__ import annotations

import re
from collections.abc import Collection

from labctl.errors import VariableError, did_you_mean

_WORD = re.compile(r"""(?:[^\s"']+|"(?:\\.|[^"\\])*"|'[^']*')+""")
_OPTION = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def split_options(term: str, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """What is no option, and the options. VariableError for an option that does not exist."""
    words: list[str] = []
    options: dict[str, str] = {}
    for word in _WORD.findall(term):
        option = _OPTION.fullmatch(word)
        if option is None:
            words.append(word)
            continue
        name, value = option.groups()
        if name not in names:
            raise VariableError(f"no option '{name}'", hint=did_you_mean(name, names) or ", ".join(names))
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        options[name] = value[1:-1] if quoted else value
    return " ".join(words), options
