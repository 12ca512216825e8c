"""Lookups that run a program on the controller: `pipe` and `lines`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from labctl.errors import VariableError

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope


def _output(scope: Scope, command: str) -> str:
    """What a command of the playbook's author writes, run by the shell in the playbook's folder."""
    folder = scope.find("playbook_dir")
    done = subprocess.run(  # noqa: S602 - the term is a shell command, as its author wrote it
        command,
        shell=True,
        cwd=folder if isinstance(folder, str) else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise VariableError(f"'{command}' ended with {done.returncode}")
    return done.stdout.decode(errors="surrogateescape")


def pipe(scope: Scope, terms: list[Any]) -> list[Any]:
    return [_output(scope, str(term)).rstrip() for term in terms]


def lines(scope: Scope, terms: list[Any]) -> list[Any]:
    return [line for term in terms for line in _output(scope, str(term)).splitlines()]


LOOKUPS: dict[str, Lookup] = {"pipe": pipe, "lines": lines}
