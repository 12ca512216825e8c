"""`task`: runs a task type against a real agent on this machine, the way the engine does."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from labctl.engine import driver
from labctl.engine.results import Result
from labctl.node.bundle import stub_argv
from labctl.node.client import AgentNode
from labctl.node.pipes import ProcessPipe
from labctl.task_types import Registry
from labctl.variables import Scope, Templar
from labctl.yaml import Text


@pytest.fixture(scope="session")
def local_agent():
    node = AgentNode("here", ProcessPipe(stub_argv(sys.executable)))
    yield node
    node.close()


class HereContext:
    """A `labctl.task_types.Context` for this machine."""

    mark = None
    timeout = None
    job = None

    def __init__(self, runner: RunTask, *, check: bool, diff: bool) -> None:
        self.host = "here"
        self.node = runner.node
        self.run_dir = self.playbook_dir = runner.folder
        self.environment, self.shared, self.verbosity = runner.environment, runner.shared, runner.verbosity
        self.check, self.diff = check, diff
        self.said: list[str] = []
        self.waited = 0.0
        magic = {"playbook_dir": str(runner.folder), "inventory_hostname": "here"}
        self.variables = Scope(Templar(), [magic, runner.variables])

    def shell(self, command, *, stdin=b"", timeout=None, output=None):
        return self.node.run(["/bin/sh", "-c", command], stdin=stdin, timeout=timeout, output=output)

    def find(self, folder, name):
        for path in (self.playbook_dir / folder / name, self.playbook_dir / name):
            if path.exists():
                return path
        raise AssertionError(name)

    def template(self, text, variables=None):
        return (self.variables.over(variables) if variables else self.variables).template(text)

    def evaluate(self, expression):
        return self.variables.evaluate(expression)

    def output(self, _stream, text):
        self.said.append(text)

    def progress(self, message, _fraction=None):
        self.said.append(message)

    def warn(self, message):
        self.said.append(message)

    def wait(self, seconds):
        self.waited += seconds
        time.sleep(min(seconds, 0.02))


class RunTask:
    """`task("copy", dest=…)`; strings are templates of the playbook's author. `trips`: round trips of the
    last call; `ctx`: its context."""

    def __init__(self, node: AgentNode, folder: Path) -> None:
        self.node, self.folder = node, folder
        self.variables: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.shared: dict[str, Any] = {}
        self.verbosity = 0
        self.trips = 0

    def __call__(self, name: str, /, *, check: bool = False, diff: bool = False, **given: Any) -> Result:
        task_type = Registry().get(name)
        ctx = self.ctx = HereContext(self, check=check, diff=diff)
        arguments = {}
        for key, value in given.items():
            canonical = task_type.aliases.get(key)
            raw = canonical is not None and task_type.parameters[canonical].raw
            written = _as_written(value)
            arguments[_as_written(key)] = written if raw else ctx.variables.render(written)
        args = task_type.bind(arguments, lambda _: None)
        before = self.node.round_trips
        result = driver.execute(task_type, args, ctx)
        self.trips = self.node.round_trips - before
        return result


def _as_written(value: Any) -> Any:
    """A value as it stands in a playbook: its strings are templates."""
    if isinstance(value, dict):
        return {key: _as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    return Text(value) if isinstance(value, str) else value


@pytest.fixture
def task(local_agent, tmp_path) -> RunTask:
    folder = tmp_path / "playbook"
    folder.mkdir()
    return RunTask(local_agent, folder)
