"""The pool of connections of a run: one transport per host, one agent per host and user."""

from __future__ import annotations

import getpass
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labctl.errors import ConnectionLost, Unreachable
from labctl.node.api import Completed, Node, Output
from labctl.node.client import AgentNode
from labctl.ssh.launch import Escalation, agent_command, local_argv, start_agent
from labctl.ssh.settings import Become, ConnectionSettings

if TYPE_CHECKING:
    import paramiko

    from labctl.ssh.transport import Session


class _Host:
    """What is open to one host under one set of settings."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.session: Session | None = None
        self.agents: dict[Become | None, AgentNode] = {}

    def execute(
        self, settings: ConnectionSettings, line: str, environment: Mapping[str, str] | None = None
    ) -> paramiko.Channel:
        """Start a command line, over the transport that is open or a new one: an old one may have died
        unnoticed. The lock is held."""
        from labctl.ssh.transport import Session

        if self.session and self.session.alive:
            try:
                return self.session.execute(line, environment)
            except Unreachable:
                if self.session.alive:  # it lives and refuses
                    raise
        self.session = Session(settings)
        return self.session.execute(line, environment)

    def take(self) -> tuple[list[AgentNode], Session | None]:
        agents, session = list(self.agents.values()), self.session
        self.agents, self.session = {}, None
        return agents, session


class Connections:
    """Thread-safe. A lost connection is replaced when it is asked for again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hosts: dict[ConnectionSettings, _Host] = {}
        self._closed = False

    def node(self, settings: ConnectionSettings, become: Become | None = None) -> Node:
        """The host's agent as this user, started when there is none. Raises Unreachable and its children,
        and BecomeFailed."""
        become = _needed(become, settings)
        host = self._host(settings)
        with host.lock:
            agent = host.agents.get(become)
            if agent and agent.alive:
                return agent
            escalation = Escalation(become) if become else None
            if settings.connection == "local":
                agent = _local_agent(settings, escalation)
            else:
                agent = _remote_agent(host, settings, escalation)
            host.agents[become] = agent
            return agent

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
            with host.lock:
                return host.execute(settings, line, environment)

        return run_there(
            execute, settings.host, command, escalation, stdin=stdin, timeout=timeout, output=output
        )

    def drop(self, host: str) -> None:
        """Forget what is open to a host of this inventory name; the next use connects again."""
        with self._lock:
            found = [one for settings, one in self._hosts.items() if settings.host == host]
        self._end(found)

    def close(self) -> None:
        """End every agent (they kill what they still run) and every transport; nothing opens after it."""
        with self._lock:
            self._closed = True
            found = list(self._hosts.values())
            self._hosts.clear()
        self._end(found)

    @staticmethod
    def _end(hosts: list[_Host]) -> None:
        # no lock: a thread that hangs in a connect must not keep the others from ending
        open_things = [host.take() for host in hosts]
        for agents, _ in open_things:
            for agent in agents:
                agent.finish()
        until = time.monotonic() + 5.0
        for agents, session in open_things:
            for agent in agents:
                agent.close(max(0.1, until - time.monotonic()))
            if session:
                session.close()

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


def _remote_agent(host: _Host, settings: ConnectionSettings, escalation: Escalation | None) -> AgentNode:
    from labctl.ssh.channel import ChannelPipe

    channel = host.execute(settings, agent_command(settings, escalation))
    return start_agent(ChannelPipe(channel), settings, escalation)


def _local_agent(settings: ConnectionSettings, escalation: Escalation | None) -> AgentNode:
    from labctl.node.pipes import ProcessPipe

    argv = local_argv(settings.python or sys.executable, escalation)
    try:
        pipe = ProcessPipe(argv, settings.folder)
    except OSError as error:
        raise Unreachable(f"{settings.host}: {argv[0]} cannot be started: {error.strerror}") from None
    return start_agent(pipe, settings, escalation)
