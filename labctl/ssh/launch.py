"""Starting an agent on a host: the command line, the talk with sudo or su, and what went wrong."""

from __future__ import annotations

import secrets
import shlex
import time

from labctl.errors import BecomeFailed, LabctlError, NoPython, Unreachable
from labctl.node.bundle import FIRST_PYTHON, MAGIC, NO_PYTHON, TOO_OLD, stub_argv, stub_command
from labctl.node.client import AgentNode
from labctl.node.link import AgentDidNotStart, Pipe
from labctl.ssh.settings import Become, ConnectionSettings

_OWN_FLAGS = ("-H", "-n", "-S")  # sudo's, which labctl gives as they are needed


class Escalation:
    """How a command line becomes another user's, and the password talk that goes before it.

    The password travels on standard input, after sudo or su has asked for it; a prompt nobody else
    would print tells when. Without a password nothing is asked and nothing waits."""

    def __init__(self, become: Become) -> None:
        self.become = become
        self.prompt = "Password:" if become.method == "su" else f"[labctl-{secrets.token_hex(8)}]"

    def argv(self, command: list[str]) -> list[str]:
        become = self.become
        program = become.program or become.method
        if become.method == "su":
            shell = ["-s", "/bin/sh", "-c", shlex.join(command)]
            return ["env", "LC_ALL=C", program, *become.flags, become.user, *shell]
        how = ["-n"] if become.password is None else ["-S", "-p", self.prompt]
        flags = [flag for flag in become.flags if flag not in _OWN_FLAGS]
        return [program, "-H", *how, *flags, "-u", become.user, "--", *command]

    def converse(self, pipe: Pipe, host: str, timeout: float) -> bytes:
        """Give the password when asked, until the agent's stub has spoken. Returns what was read from the
        pipe. Raises BecomeFailed for a wrong password."""
        if self.become.password is None:
            return b""
        until, given, received = time.monotonic() + timeout, False, b""
        while MAGIC not in received:
            asked = pipe.errors().count(self.prompt)
            if asked > 1 or (given and self._refused(pipe.errors())):
                raise self.wrong_password(host)
            if asked and not given:
                pipe.send(self.become.password.encode() + b"\n")
                given = True
            data = pipe.recv(65536, 0.05)
            if data == b"" or time.monotonic() > until:
                if given and self._refused(pipe.errors()):
                    raise self.wrong_password(host)
                errors = pipe.errors().replace(self.prompt, "").strip()
                raise AgentDidNotStart(received.decode(errors="replace"), errors, timed_out=data is None)
            received += data or b""
        return received

    @staticmethod
    def _refused(errors: str) -> bool:
        return any(sign in errors for sign in ("try again", "incorrect password", "Authentication failure"))

    def wrong_password(self, host: str) -> LabctlError:
        return BecomeFailed(
            f"{host}: {self.become.method} does not accept the become password for '{self.become.user}'",
            hint="check ansible_become_password, or give another with --ask-become-pass",
        )

    def failure(self, host: str, said: str) -> LabctlError | None:
        """The error in what sudo or su said, if they failed."""
        method, user = self.become.method, self.become.user
        if "password is required" in said or "Authentication failure" in said:
            return BecomeFailed(
                f"{host}: {method} needs a password to become '{user}'",
                hint="set ansible_become_password, use --ask-become-pass, or allow it in sudoers (NOPASSWD)",
            )
        if f"{method}: not found" in said or f"{method}: command not found" in said:
            return BecomeFailed(f"{host}: there is no {method} on the host, so nobody can become '{user}'")
        for sign in (
            "not in the sudoers",
            "not allowed to",
            "unknown user",
            "does not exist",
            "sudo:",
            "su:",
        ):
            if sign in said:
                line = next(line for line in said.splitlines() if sign in line)
                return BecomeFailed(f"{host}: cannot become '{user}' by {method}: {line.strip()}")
        return None


def agent_command(settings: ConnectionSettings, escalation: Escalation | None) -> str:
    """The whole command line for the login shell, whichever shell that is."""
    argv = ["/bin/sh", "-c", stub_command(settings.python)]
    if escalation:
        return "exec " + shlex.join(escalation.argv(argv))
    first = settings.python or FIRST_PYTHON
    at_once = f"test -x {shlex.quote(first)} && exec {shlex.join(stub_argv(first))}; " if "/" in first else ""
    return f"{at_once}exec {shlex.join(argv)}"


def local_argv(python: str, escalation: Escalation | None) -> list[str]:
    return escalation.argv(stub_argv(python)) if escalation else stub_argv(python)


def start_agent(pipe: Pipe, settings: ConnectionSettings, escalation: Escalation | None) -> AgentNode:
    """An agent at the other end of a pipe that runs the command above. Raises Unreachable's children
    and BecomeFailed."""
    timeout = settings.connect_timeout
    try:
        received = escalation.converse(pipe, settings.host, timeout) if escalation else b""
        return AgentNode(settings.host, pipe, connect_timeout=timeout, received=received)
    except AgentDidNotStart as problem:
        pipe.close()
        raise _explain(problem, settings, escalation) from None
    except (OSError, EOFError) as error:
        pipe.close()
        raise Unreachable(f"{settings.host}: the connection ended while starting: {error}") from None
    except BaseException:
        pipe.close()
        raise


def _explain(
    problem: AgentDidNotStart, settings: ConnectionSettings, escalation: Escalation | None
) -> LabctlError:
    host, said = settings.host, f"{problem.errors}\n{problem.output}"
    if NO_PYTHON in said or TOO_OLD in said:
        which = f"no '{settings.python}'" if settings.python else "no python3"
        if TOO_OLD in said:
            which = f"only Python {said.partition(TOO_OLD)[2].split(maxsplit=1)[0]}, and 3.8 is the oldest that will do"
        return NoPython(
            f"host {host} has {which}",
            hint="use raw or script for what needs no Python, install it (raw: apt-get install -y python3), "
            "or set ansible_python_interpreter",
        )
    if escalation and (error := escalation.failure(host, said)):
        return error
    if problem.timed_out:
        return Unreachable(f"{host}: no agent started within {settings.connect_timeout:g} s")
    return Unreachable(
        f"{host}: the agent did not start: {_last_line(said) or 'the connection ended without a word'}",
        hint="does the login shell of the user work? try raw: 'true'",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
