"""A command line with an environment that no process list shows.

The values may be secrets, so they come on standard input, before what the command itself reads: `read` takes
no more than its lines.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

_END = "# end of labctl's environment"
_SHELL = (
    'labctl_e=; while IFS= read -r labctl_l && [ "$labctl_l" != "$0" ]; do labctl_e="$labctl_e$labctl_l\n"; done; '
    'eval "$labctl_e"; unset labctl_e labctl_l; exec "${SHELL:-/bin/sh}" -c "$1"'
)


def with_environment(command: str, environment: Mapping[str, str]) -> str:
    """The line that reads `lines(environment)` and then runs `command` by the user's login shell."""
    return shlex.join(["/bin/sh", "-c", _SHELL, _END, command]) if environment else command


def lines(environment: Mapping[str, str]) -> bytes:
    """What goes before the command's own input."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([*exports, _END, ""]).encode() if exports else b""
