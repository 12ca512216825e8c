"""What a running task type may use of the run: `labctl.task_types.Context`, for one task on one host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from labctl import vault
from labctl.engine import exported
from labctl.engine.background import DetachingNode
from labctl.engine.deadline import Deadline
from labctl.engine.looks import Looks, WatchedNode
from labctl.engine.results import hide
from labctl.engine.scopes import Scopes
from labctl.engine.session import SessionNode
from labctl.engine.settings import Access
from labctl.engine.state import HostState
from labctl.errors import Mark, PlaybookError
from labctl.events import Kind
from labctl.jobs import folder_of
from labctl.node.api import Completed, Node, Output
from labctl.playbook.tree import Task
from labctl.records import dataclass, field
from labctl.task_types import Job
from labctl.variables import Scope
from labctl.yaml import Text


@dataclass
class RunContext:
    """`host` is where the task acts (after delegate_to) and `host_scope` its variables; `state` is the host
    the task is for and `scope` its variables. `secrets` are texts that must not be shown."""

    scopes: Scopes
    task: Task
    state: HostState
    scope: Scope
    host: str
    host_scope: Scope
    deadline: Deadline
    check: bool
    diff: bool
    environment: Mapping[str, str]
    no_log: bool
    label: str
    secrets: frozenset[str] = frozenset()
    job: Job | None = None
    lasting: bool = False
    run_dir: Path = field(init=False)
    playbook_dir: Path = field(init=False)
    verbosity: int = field(init=False)
    mark: Mark | None = field(init=False)
    timeout: float | None = field(init=False)
    _nodes: dict[str, Node] = field(default_factory=dict)
    _flows: dict[str, vault.Flow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.run_dir = self.scopes.run.run_dir
        self.playbook_dir = self.task.play.dir
        self.verbosity = self.scopes.run.options.verbosity
        self.mark = self.task.mark
        self.timeout = self.deadline.seconds

    @cached_property
    def looks(self) -> Looks:
        return Looks()

    @property
    def variables(self) -> Mapping[str, Any]:
        return self.scope

    @property
    def shared(self) -> dict[str, Any]:
        return self.scopes.run.shared

    @cached_property
    def access(self) -> Access:
        return self.scopes.run.accesses.to(self.task, self.host, self.host_scope)

    def detaching(self, jid: str, limit: float) -> RunContext:
        """The same, but the command it runs goes on by itself as the job `jid`, for `limit` seconds at most."""
        job = Job(jid)
        connections, access = self.scopes.run.connections, self.access
        node = DetachingNode(
            self.host,
            lambda: connections.node(access.settings, access.become),
            self.deadline,
            self.environment,
        )
        node.attach(job, folder_of(self.host_scope, self.environment), limit)
        return replace(self, job=job, _nodes={self.host: node})

    def on(self, state: HostState, scope: Scope) -> RunContext:
        """The same task on another host, whose variables are `scope`."""
        there = object.__new__(RunContext)
        own = vars(there)
        own |= vars(self)
        own |= {
            "state": state,
            "host": state.name,
            "scope": scope,
            "host_scope": scope,
            "deadline": Deadline(self.scopes.run.stop, None, self.scopes.run.calls),
            "_nodes": {},
            "_flows": {},
        }
        for known in ("access", "looks"):
            own.pop(known, None)
        return there

    def reach_by(self, node: Node) -> None:
        """Let `node` be the host's."""
        self._nodes[self.host] = node

    @property
    def local(self) -> bool:
        """Whether the task acts on the machine labctl runs on."""
        return self.access.settings.connection == "local"

    @property
    def node(self) -> Node:
        return self._node(self.host, self.access)

    def node_of(self, host: str) -> Node:
        if host == self.host:
            return self.node
        return self._node(host, self._access_to(host))

    def _access_to(self, host: str) -> Access:
        run = self.scopes.run
        scope = self.scopes.scope(run.target(host), self.task)
        return run.accesses.to(self.task, host, scope)

    def _node(self, host: str, access: Access) -> Node:
        if host not in self._nodes:
            connections = self.scopes.run.connections
            self._nodes[host] = SessionNode(
                host,
                lambda: connections.node(access.settings, access.become),
                self.deadline,
                self.environment,
            )
        return WatchedNode.over(self._nodes[host], self.looks) if self.check else self._nodes[host]

    def shell(
        self, command: str, *, stdin: bytes = b"", timeout: float | None = None, output: Output | None = None
    ) -> Completed:
        left = self.deadline.left
        limit = timeout if left is None else left if timeout is None else min(timeout, left)
        with self.deadline.call(self.host):
            done = self.scopes.run.connections.shell(
                self.access.settings,
                exported.with_environment(command, self.environment),
                become=self.access.become,
                stdin=exported.lines(self.environment) + stdin,
                timeout=limit,
                output=output,
            )
        if done.timed_out and limit is not timeout:
            raise self.deadline.timeout()
        return done

    def hosts(self, pattern: str) -> list[str]:
        return [host.name for host in self.scopes.run.inventory.match(pattern)]

    def vars_of(self, host: str) -> Mapping[str, Any]:
        return self.scopes.host_scope(self.scopes.run.host(host))

    def add_host(self, name: str, groups: Sequence[str], variables: Mapping[str, Any]) -> bool:
        return self.scopes.run.add_host(name, groups, variables)

    def add_group(self, name: str, parents: Sequence[str]) -> bool:
        return self.scopes.run.add_group(self.state.name, name, parents)

    def find(self, folder: str, name: str) -> Path:
        known = self.scopes.found.get((self.task, folder, name))
        if known is None or not known.exists():
            known = self.scopes.found[self.task, folder, name] = self._find(folder, name)
        return known

    def _find(self, folder: str, name: str) -> Path:
        given = Path(name).expanduser()
        if given.is_absolute():
            candidates = [given]
        else:
            bases = [role.path for role in reversed(self.task.roles_around)]
            bases += [Path(self.task.mark.file).parent, self.playbook_dir]
            candidates = [place for base in bases for place in (base / folder / given, base / given)]
        for path in candidates:
            if path.exists():
                return path.resolve()
        places = ", ".join(dict.fromkeys(str(path) for path in candidates))
        raise PlaybookError(f"there is no '{name}' on this machine; looked for {places}", mark=self.mark)

    def template(self, text: str, variables: Mapping[str, Any] | None = None) -> str:
        scope = self.scope.over(variables) if variables else self.scope
        return scope.template(text if isinstance(text, Text) else Text(text, self.mark))

    def evaluate(self, expression: str) -> Any:
        return self.scope.evaluate(expression, self.mark)

    def output(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        if not self.no_log:
            flow = self._flows.setdefault(stream, vault.Flow(vault.current().masks))
            if ready := flow.feed(text):
                self._emit(Kind.OUTPUT, stream=stream, text=hide(ready, self.secrets))

    def end_output(self) -> None:
        """Show what was held back because a secret might have gone on in the next piece."""
        for stream, flow in self._flows.items():
            if left := flow.rest():
                self._emit(Kind.OUTPUT, stream=stream, text=hide(left, self.secrets))

    def progress(self, message: str, fraction: float | None = None) -> None:
        if not self.no_log:
            self._emit(Kind.PROGRESS, message=hide(message, self.secrets), fraction=fraction)

    def wait(self, seconds: float) -> None:
        self.deadline.wait(seconds)

    def phase(self, subject: str, name: str, seconds: float, **detail: Any) -> None:
        self._emit(Kind.PHASE, subject=subject, name=name, seconds=seconds, detail=hide(detail, self.secrets))

    def warn(self, message: str) -> None:
        if not self.no_log:
            self._emit(Kind.WARNING, message=hide(message, self.secrets), mark=str(self.mark or ""))

    def on_close(self, close: Callable[[], str | None]) -> None:
        self.lasting = True

        def undo() -> str | None:
            self.deadline.begin_clean_up()
            return close()

        self.scopes.run.on_close(undo)

    def _emit(self, kind: Kind, **data: Any) -> None:
        self.scopes.run.bus.emit(
            kind, play=self.scopes.play_name, task=self.label, host=self.state.name, **data
        )
