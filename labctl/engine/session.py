"""The Node a task works with: the host's agent, looked up anew for each call.

Looking it up anew means that a connection dropped by an interrupt, a timeout or `meta: reset_connection`
is simply made again by the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Unpack

from labctl.engine.deadline import Deadline
from labctl.node.api import CommandOptions, Completed, Node, Stat, Stream
from labctl.node.clock import CLOSE

T = TypeVar("T")


class SessionNode:
    """A Node (labctl.node.api) over whatever agent `connect` gives at the moment of the call."""

    def __init__(
        self,
        host: str,
        connect: Callable[[], Node],
        deadline: Deadline,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._host = host
        self._connect = connect
        self._deadline = deadline
        self._environment = environment or {}

    @property
    def host(self) -> str:
        return self._host

    def _do(self, call: Callable[[Node], T]) -> T:
        with self._deadline.call(self._host):
            return call(self._connect())

    def run(self, argv: Sequence[str], **how: Unpack[CommandOptions]) -> Completed:
        left, timeout = self._deadline.left, how.get("timeout")
        limit = timeout if left is None else left if timeout is None else min(timeout, left)
        there: CommandOptions = {**self._here(how), "timeout": limit}
        done = self._do(lambda node: node.run(argv, **there))
        if done.timed_out and limit is not timeout:
            raise self._deadline.timeout()
        return done

    def _here(self, how: CommandOptions) -> CommandOptions:
        """With the task's environment."""
        return {**how, "env": {**self._environment, **(how.get("env") or {})}}

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        return self._do(lambda node: node.read(path, limit=limit))

    def write(
        self,
        path: str,
        data: bytes,
        *,
        mode: int | None = None,
        owner: str | None = None,
        group: str | None = None,
        backup: bool = False,
    ) -> str | None:
        return self._do(
            lambda node: node.write(path, data, mode=mode, owner=owner, group=group, backup=backup)
        )

    def put(self, source: Path, path: str, *, mode: int | None = None) -> None:
        self._do(lambda node: node.put(source, path, mode=mode))

    def get(self, path: str, destination: Path) -> None:
        self._do(lambda node: node.get(path, destination))

    def stat(self, path: str, *, follow: bool = False, checksum: bool = False) -> Stat | None:
        return self._do(lambda node: node.stat(path, follow=follow, checksum=checksum))

    def list(self, path: str) -> list[Stat]:
        return self._do(lambda node: node.list(path))

    def remove(self, path: str) -> bool:
        return self._do(lambda node: node.remove(path))

    def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True) -> bool:
        return self._do(lambda node: node.mkdir(path, mode=mode, parents=parents))

    def link(self, target: str, path: str, *, hard: bool = False) -> None:
        self._do(lambda node: node.link(target, path, hard=hard))

    def chmod(self, path: str, mode: int, *, follow: bool = True) -> None:
        self._do(lambda node: node.chmod(path, mode, follow=follow))

    def chown(
        self, path: str, *, owner: str | None = None, group: str | None = None, follow: bool = True
    ) -> None:
        self._do(lambda node: node.chown(path, owner=owner, group=group, follow=follow))

    def call(self, module: str, function: str, /, **arguments: Any) -> Any:
        return self._do(lambda node: node.call(module, function, **arguments))

    def start(
        self,
        program: bytes,
        arguments: Sequence[str],
        *,
        line: Callable[[str], None],
        name: str = "program",
    ) -> Stream:
        return self._do(lambda node: node.start(program, arguments, line=line, name=name))

    def clock_offset(self, error: float = CLOSE, meanwhile: Callable[[], None] = lambda: None) -> float:
        return self._do(lambda node: node.clock_offset(error, meanwhile))

    def close(self) -> None:
        """The agent belongs to the run, not to the task."""
