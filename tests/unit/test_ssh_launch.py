"""The command line that starts an agent, by the login shells that hosts have."""

import sys

import pytest

from labctl.errors import NoPython
from labctl.node.pipes import ProcessPipe
from labctl.ssh import ConnectionSettings
from labctl.ssh.launch import agent_command, start_agent

SHELLS = ("sh", "bash", "fish", "tcsh")


def start(shell, python):
    settings = ConnectionSettings(host="web1", address="web1", python=python)
    pipe = ProcessPipe([shell, "-c", agent_command(settings, None)])
    return pipe, start_agent(pipe, settings, None)


@pytest.mark.parametrize("python", [None, sys.executable, "python3"])
@pytest.mark.parametrize("shell", SHELLS)
def test_any_login_shell_starts_it_in_its_own_place(shell, python):
    pipe, node = start(shell, python)
    assert node.run(["echo", "hello"]).stdout == b"hello\n"
    assert node.hello["pid"] == pipe.pid
    node.close()


@pytest.mark.parametrize("python", ["/nonexistent/python", "no-such-python"])
@pytest.mark.parametrize("shell", SHELLS)
def test_no_such_python(shell, python):
    with pytest.raises(NoPython, match=f"host web1 has no '{python}'"):
        start(shell, python)
