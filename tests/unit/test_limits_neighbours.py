"""What else lives on a node: told such that what was replaced is not taken for what was there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.node.functions import neighbours

TABLE = """TASK               PID     STATUS
other.web          {here}     RUNNING
notebook.notebook  1       RUNNING
other.done         7       STOPPED
"""


def test_running_containers_are_named_by_process_and_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "ctr"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{TABLE.format(here=os.getpid())}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = neighbours.neighbours("labctl", ["notebook.notebook"])
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert found["containers"] == {"other.web": f"{os.getpid()}@{started}"}
    assert found["boot"].startswith("1@")
    assert neighbours.neighbours("labctl", ["notebook.notebook"]) == found


def test_a_process_number_used_again_is_another_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        number, start = neighbours._identity(str(child.pid)).split("@")
        assert int(number) == child.pid
        assert int(start) > int(neighbours._identity("1").split("@")[1])
    assert neighbours._identity(str(child.pid)) == str(child.pid), "gone: no start"


def test_a_node_without_containerd_has_no_containers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert neighbours.neighbours("labctl", [])["containers"] == {}
