"""The pool of connections of a run: one transport per host, one agent per host and user."""

from __future__ import annotations

import getpass
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labctl.errors import ConnectionLost, LabctlError, NoPython, Unreachable
from labctl.node.api import Completed, Node, Output
from labctl.node.client import AgentNode
from labctl.ssh import knock
from labctl.ssh.kept import Kept
from labctl.ssh.launch import Escalation, agent_command, local_argv, start_agent
from labctl.ssh.settings import Become, ConnectionSettings

if TYPE_CHECKING:
    import paramiko

    from labctl.ssh.relay_workers import Workers

_MANY = 200  # hosts from which on worker processes are worth their start


class _Host:
    """What is open to one host under one set of settings."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.agents: dict[Become | None, AgentNode] = {}
        self.failure: LabctlError | None = None  # of `prepare`, for whoever asks next

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything there."""
        return not self.kept.lock.locked() and all(agent.idle for agent in self.agents.values())

    def take(self) -> list[AgentNode]:
        agents, self.agents = list(self.agents.values()), {}
        return agents


class Connections:
    """Thread-safe. A lost connection is replaced when it is asked for again."""

    def __init__(self, *, last: bool = False) -> None:
        """`last`: the process ends once they are closed, and what is idle then may be left to that: the other end sees no
        difference, and to say goodbye to each host takes longer than to ask it for something."""
        self._last = last
        self._lock = threading.Lock()
        self._hosts: dict[ConnectionSettings, _Host] = {}
        self._closed = False
        self._expected = 0
        self._workers: Workers | None = None

    def expect(self, hosts: int) -> None:
        """Say how many hosts there will be. Where they are many, worker processes hold their agents' connections,
        from the first one to come."""
        self._expected = max(self._expected, hosts)

    def prepare(self, settings: ConnectionSettings, become: Become | None = None) -> None:
        """Begin to start the agent that will be asked for; what keeps it from starting is raised then."""
        if settings.connection == "ssh":
            from labctl.ssh import transport  # noqa: F401 - loads here rather than in all the threads at once
        become, host = _needed(become, settings), self._host(settings)
        if not host.kept.lock.acquire(blocking=False):
            return

        def work() -> None:
            try:
                self._agent(host, settings, become)
            except NoPython:
                pass  # the first task may be what installs it
            except LabctlError as error:
                host.failure = error
            finally:
                host.kept.lock.release()

        threading.Thread(target=work, name=f"labctl-{settings.host}-ahead", daemon=True).start()

    def node(self, settings: ConnectionSettings, become: Become | None = None) -> Node:
        """The host's agent as this user, started when there is none. Raises Unreachable and its children,
        and BecomeFailed."""
        become = _needed(become, settings)
        host = self._host(settings)
        with host.kept.lock:
            if host.failure:
                failure, host.failure = host.failure, None
                raise failure
            return self._agent(host, settings, become)

    def idle(self, settings: ConnectionSettings, become: Become | None = None) -> AgentNode | None:
        """The host's agent as this user, where there is one that waits for nothing."""
        host = self._hosts.get(settings)
        agent = host.agents.get(_needed(become, settings)) if host else None
        return agent if agent and agent.idle else None

    def shell(
        self,
        settings: ConnectionSettings,
        command: str,
        *,
        become: Become | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        output: Output | None = None,
    ) -> Completed:
        """Run a command line by the user's login shell over a channel of its own: needs no Python there.
        After `timeout` seconds it is ended as well as that can be done, and `timed_out` is set."""
        become = _needed(become, settings)
        escalation = Escalation(become) if become else None
        if settings.connection == "local":
            from labctl.ssh.shell_here import run_here

            return run_here(
                command, escalation, folder=settings.folder, stdin=stdin, timeout=timeout, output=output
            )
        from labctl.ssh.shell import run_there

        host = self._host(settings)

        def execute(line: str, environment: Mapping[str, str]) -> paramiko.Channel:
            with host.kept.lock:
                host.failure = None
                return host.kept.execute(settings, line, environment)

        return run_there(
            execute, settings.host, command, escalation, stdin=stdin, timeout=timeout, output=output
        )

    def drop(self, host: str) -> None:
        """Forget what is open to a host of this inventory name; the next use connects again."""
        with self._lock:
            found = {settings: one for settings, one in self._hosts.items() if settings.host == host}
        self._end(found)

    def close(self) -> None:
        """End every agent (they kill what they still run) and every transport; nothing opens after it."""
        with self._lock:
            self._closed = True
            found = dict(self._hosts)
            self._hosts.clear()
        knock.leave()
        self._end({settings: host for settings, host in found.items() if not self._may_stay(settings, host)})
        if self._workers:
            self._workers.close()

    def _may_stay(self, settings: ConnectionSettings, host: _Host) -> bool:
        return self._last and self._workers is None and settings.connection == "ssh" and host.idle

    def _end(self, hosts: Mapping[ConnectionSettings, _Host]) -> None:
        # no lock: a thread that hangs in a connect must not keep the others from ending
        agents = {settings: host.take() for settings, host in hosts.items()}
        for started in agents.values():
            for agent in started:
                agent.finish()
        until = time.monotonic() + 5.0
        for settings, host in hosts.items():
            for agent in agents[settings]:
                agent.close(max(0.1, until - time.monotonic()))
            host.kept.close()
            if self._workers and settings.connection == "ssh":
                self._workers.drop(settings)

    def _agent(self, host: _Host, settings: ConnectionSettings, become: Become | None) -> AgentNode:
        agent = host.agents.get(become)
        if agent and agent.alive:
            return agent
        escalation = Escalation(become) if become else None
        if settings.connection == "local":
            agent = _local_agent(settings, escalation)
        else:
            agent = self._remote_agent(host, settings, escalation)
        host.agents[become] = agent
        return agent

    def _remote_agent(
        self, host: _Host, settings: ConnectionSettings, escalation: Escalation | None
    ) -> AgentNode:
        line = agent_command(settings, escalation)
        workers = self._started_workers()
        pipe = workers.open(settings, line) if workers else None
        if pipe is None:
            from labctl.ssh.channel import ChannelPipe

            return start_agent(ChannelPipe(host.kept.execute(settings, line)), settings, escalation)
        return start_agent(pipe, settings, escalation)

    def _started_workers(self) -> Workers | None:
        if self._workers is None and self._expected >= _MANY:
            from labctl.ssh.relay_workers import Workers, workers_for

            with self._lock:
                if self._workers is None and not self._closed and (count := workers_for(self._expected)):
                    self._workers = Workers(count)
        return self._workers

    def _host(self, settings: ConnectionSettings) -> _Host:
        with self._lock:
            if self._closed:
                raise ConnectionLost(f"{settings.host}: the connections of this run are closed")
            return self._hosts.setdefault(settings, _Host())


def _needed(become: Become | None, settings: ConnectionSettings) -> Become | None:
    """None where the connection is that user's already."""
    if become is None:
        return None
    user = getpass.getuser() if settings.connection == "local" else settings.user
    return None if become.user == user else become


def _local_agent(settings: ConnectionSettings, escalation: Escalation | None) -> AgentNode:
    from labctl.node.pipes import ProcessPipe

    argv = local_argv(settings.python or sys.executable, escalation)
    try:
        pipe = ProcessPipe(argv, settings.folder)
    except OSError as error:
        raise Unreachable(f"{settings.host}: {argv[0]} cannot be started: {error.strerror}") from None
    return start_agent(pipe, settings, escalation)
