"""The exception tree of labctl, drawn once.

    LabctlError                    exit 1
    ├── UsageError                 exit 5    a command line that makes no sense
    ├── PlaybookError              exit 6    a playbook, task file, role or manifest that cannot be run
    │   └── YamlError                        text that is not YAML
    ├── InventoryError             exit 7    an inventory or host pattern that cannot be read
    ├── VariableError              exit 8    a variable or template that cannot be evaluated
    │   ├── UndefinedVariable
    │   ├── VaultError                       a ciphertext that no password given opens
    │   └── UnknownValue                     (dry run) a value that only a real run can know
    ├── EnvironmentProblem         exit 9    this machine cannot do it (not root, no LXC, …)
    ├── Unreachable                exit 4    a host that cannot be spoken to
    │   ├── AuthenticationFailed
    │   ├── HostKeyMismatch
    │   ├── NoPython                         the host answers, but has no Python for the agent
    │   └── ConnectionLost                   the connection ended under a running task
    ├── BecomeFailed               exit 2    a host that answers, and does not let the user become another
    ├── NodeError                  exit 2    a primitive failed on the node; carries errno and path
    ├── TaskFailed                 exit 2    a task that did not reach its expected state
    │   └── TaskTimeout
    └── Interrupted                exit 130

Every error can carry a position (`mark`), and a `hint`: what was expected, or the nearest valid name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a text file: 1-based line and column."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """The marked line with a caret below the column, or '' when the file cannot be read."""
        try:
            with open(self.file, encoding="utf-8", errors="replace") as stream:
                lines = stream.read().splitlines()
        except OSError:
            return ""
        if not 1 <= self.line <= len(lines) or lines[0].startswith("$ANSIBLE_VAULT;"):
            return ""  # an encrypted file's positions are those of its clear text
        gutter = f"{self.line:>5} | "
        text = lines[self.line - 1].replace("\t", " ")
        return f"{gutter}{text}\n{' ' * (len(gutter) - 2)}| {' ' * (self.column - 1)}^"


class LabctlError(Exception):
    """Base of every error labctl reports to its user: one message, never a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, mark: Mark | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.mark}: {self.message}" if self.mark else self.message

    def report(self) -> str:
        """The whole text a user sees: position and message, the marked line, the hint."""
        parts = [str(self)]
        if self.mark and (excerpt := self.mark.excerpt()):
            parts.append(excerpt)
        if self.hint:
            parts.append(f"hint: {self.hint}")
        return "\n".join(parts)


class UsageError(LabctlError):
    exit_code = 5


class PlaybookError(LabctlError):
    exit_code = 6


class YamlError(PlaybookError):
    pass


class InventoryError(LabctlError):
    exit_code = 7


class VariableError(LabctlError):
    exit_code = 8


class UndefinedVariable(VariableError):
    pass


class VaultError(VariableError):
    pass


class UnknownValue(VariableError):
    """Raised in a dry run by whatever touches a value that only a real run can know."""


class EnvironmentProblem(LabctlError):
    exit_code = 9


class Unreachable(LabctlError):
    exit_code = 4


class AuthenticationFailed(Unreachable):
    pass


class HostKeyMismatch(Unreachable):
    pass


class NoPython(Unreachable):
    pass


class ConnectionLost(Unreachable):
    pass


class BecomeFailed(LabctlError):
    exit_code = 2


class NodeError(LabctlError):
    """A primitive failed on a node. `errno_name` is e.g. 'ENOSPC', `path` the file it was about."""

    exit_code = 2

    def __init__(self, message: str, *, errno_name: str | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.errno_name = errno_name
        self.path = path


class TaskFailed(LabctlError):
    """A task failed; `values` are what it returns all the same (rc, stdout, …)."""

    exit_code = 2

    def __init__(
        self, message: str, *, mark: Mark | None = None, hint: str | None = None, **values: Any
    ) -> None:
        super().__init__(message, mark=mark, hint=hint)
        self.values = values


class TaskTimeout(TaskFailed):
    pass


class Interrupted(LabctlError):
    exit_code = 130


def did_you_mean(name: str, valid: Iterable[str]) -> str | None:
    """The hint "did you mean 'x'?" for a misspelt name, or None when nothing is near."""
    import difflib

    near = difflib.get_close_matches(str(name), [str(v) for v in valid], n=1, cutoff=0.65)
    return f"did you mean '{near[0]}'?" if near else None
