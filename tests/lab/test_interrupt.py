"""What is left when labctl is killed or interrupted in the middle of a task: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]

UNDOABLE = '''\
"""Make a file that goes away with the run."""
from dataclasses import dataclass
from labctl.task_types import Args, Change, arg

@dataclass(kw_only=True)
class Arguments(Args):
    path: str = arg(doc="where", free_form=True)

def run(args, ctx):
    def undo():
        ctx.node.remove(args.path)
        return f"removed {args.path} from {ctx.host}"
    ctx.on_close(undo)
    yield Change(args.path, lambda: ctx.node.write(args.path, b"x"))
    return {}
'''

PLAYBOOK = """\
    - hosts: worker1
      gather_facts: false
      tasks:
        - undoable: /run/engine-undoable
        - shell: sleep {nap} & sleep {nap}
        - command: touch /run/engine-never
    """


def sleepers(node, nap: str) -> list[str]:
    found = node("worker1").run(["pgrep", "-f", f"sleep {nap}"])
    return found.text().split()


@pytest.fixture
def sleeping(node, inventory_file, tmp_path):
    """A run whose task sleeps on worker1: the process, and the length of its nap."""
    nap = f"1000.{os.getpid()}{time.monotonic_ns() % 1000:03d}"
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "undoable.py").write_text(UNDOABLE)
    (tmp_path / "site.yml").write_text(textwrap.dedent(PLAYBOOK).format(nap=nap))
    started = subprocess.Popen(
        [sys.executable, "-m", "labctl", "run", "site.yml", "-i", str(inventory_file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        eventually(lambda: len(sleepers(node, nap)) >= 2, 60, "the task never slept")
        yield started, nap
    finally:
        started.kill()
        started.communicate()
        node("worker1").run(["pkill", "-f", f"sleep {nap}"])
        node("worker1").remove("/run/engine-undoable")


def test_sigkill_leaves_no_process_and_the_next_run_works(sleeping, node, labctl, inventory_file, tmp_path):
    started, nap = sleeping
    started.kill()
    eventually(lambda: not sleepers(node, nap), 5, "a process outlived its controller by 5 s")
    again = labctl("exec", "worker1", "command", "hostname", "-i", inventory_file, cwd=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "worker1" in again.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_exits_130_and_says_what_was_undone(sleeping, node, number):
    started, nap = sleeping
    assert node("worker1").stat("/run/engine-undoable")
    started.send_signal(number)
    out, _ = started.communicate(timeout=60)
    assert started.returncode == 130, out
    assert "removed /run/engine-undoable from worker1" in out
    assert "Traceback" not in out
    assert node("worker1").stat("/run/engine-undoable") is None
    assert node("worker1").stat("/run/engine-never") is None
    eventually(lambda: not sleepers(node, nap), 5, "a process outlived the interrupted run by 5 s")
