"""What a task type says (changes, or that it has nothing to do) and what it may use of the run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from labctl.errors import Mark
from labctl.node.api import Completed, Node, Output
from labctl.records import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between actual and expected state, and what removes it.

    `what` names it for a person ("content of /etc/motd"). `before` and `after` are shown by --diff:
    text, or anything JSON can hold. `unknown` says why the effect cannot be known without doing it."""

    what: str
    apply: Callable[[], Any]
    before: Any = None
    after: Any = None
    unknown: str | None = None


@dataclass
class Job:
    """A task whose command goes on by itself on the node (async). The task type says what its result holds
    besides what the process returns: `command` becomes its `cmd`, `strip` takes newlines off the output's ends."""

    jid: str
    command: Any = None
    strip: bool = True


Steps = Generator[Change, Any, dict[str, Any]]


class Skip(Exception):
    """Raised by a task type that has nothing to do here; the task counts as skipped."""


class Context(Protocol):
    """What a task type may use of the run it is part of."""

    host: str
    check: bool
    diff: bool
    verbosity: int
    run_dir: Path
    mark: Mark | None
    timeout: float | None
    job: Job | None
    environment: Mapping[str, str]
    playbook_dir: Path

    @property
    def node(self) -> Node:
        """The host of this task as its become user; connected on first use."""

    @property
    def variables(self) -> Mapping[str, Any]:
        """Every variable of this host, rendered when read."""

    @property
    def shared(self) -> dict[str, Any]:
        """Lives as long as the run: running collectors, handles. Key it by task type."""

    def shell(
        self, command: str, *, stdin: bytes = b"", timeout: float | None = None, output: Output | None = None
    ) -> Completed:
        """Run a command line through the login shell of a plain SSH channel, with become, and without the
        agent: for hosts that have no Python (`raw`, `script`)."""

    def node_of(self, host: str) -> Node:
        """Another host of the inventory, by name, as the same become user."""

    def hosts(self, pattern: str) -> list[str]:
        """The inventory hosts a pattern names."""

    def vars_of(self, host: str) -> Mapping[str, Any]:
        """Every variable of another host, rendered when read (hostvars)."""

    def add_host(self, name: str, groups: Sequence[str], variables: Mapping[str, Any]) -> bool:
        """Add a host to the run's inventory, or to more groups of it; whether that changed anything."""

    def add_group(self, name: str, parents: Sequence[str]) -> bool:
        """Put this host into a group of the run's inventory; whether that changed anything."""

    def find(self, folder: str, name: str) -> Path:
        """A controller file as Ansible looks for it: role/<folder>, playbook/<folder>, playbook. PlaybookError
        when there is none."""

    def template(self, text: str, variables: Mapping[str, Any] | None = None) -> str:
        """Render template text with this host's variables (and these on top)."""

    def evaluate(self, expression: str) -> Any:
        """The value of a bare Jinja2 expression (`when`, `that`, `var`)."""

    def output(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Live output, shown as it comes."""

    def progress(self, message: str, fraction: float | None = None) -> None: ...

    def wait(self, seconds: float) -> None:
        """Sleep on the controller. Interrupted and TaskTimeout end it."""

    def phase(self, subject: str, name: str, seconds: float, **detail: Any) -> None: ...

    def warn(self, message: str) -> None: ...

    def on_close(self, close: Callable[[], str | None]) -> None:
        """Register what must be undone when the run ends or is interrupted; it returns what it undid, for
        the user to read, or None. Called in reverse order, once."""
