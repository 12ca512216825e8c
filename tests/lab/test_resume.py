"""A run that was killed goes on, on each node, where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
LOG = "/root/resume-test"

# What is done twice is seen in the file: a line for each time.
PLAYBOOK = f"""\
    - hosts: workers
      gather_facts: true
      tasks:
        - {{name: first, shell: "echo first >> {LOG}; date +%N", register: stamp, notify: told}}
        - {{name: known, set_fact: {{known: "{{{{ stamp.stdout }}}}"}}}}
        - {{name: hidden, shell: "echo hidden >> {LOG}; echo s3cret", register: secret, no_log: true}}
        - name: long
          shell: "echo long >> {LOG}; sleep {{{{ nap if inventory_hostname == 'worker1' else 0 }}}}"
        - {{name: last, shell: "echo 'last {{{{ known }}}} {{{{ secret.stdout | length }}}}' >> {LOG}"}}
        - {{name: system, shell: "echo {{{{ ansible_facts.hostname }}}} >> {LOG}"}}
      handlers:
        - {{name: told, shell: "echo told >> {LOG}"}}
    """


@pytest.fixture
def lines(node):
    """What the tasks have written on a node."""
    for name in ("worker1", "worker2"):
        node(name).remove(LOG)

    def read(name: str) -> list[str]:
        there = node(name).stat(LOG)
        return node(name).read(LOG).decode().splitlines() if there else []

    yield read
    for name in ("worker1", "worker2"):
        node(name).remove(LOG)


def test_killed_run_goes_on_where_each_node_was(labctl, inventory_file, lines, tmp_path):
    (tmp_path / "site.yml").write_text(textwrap.dedent(PLAYBOOK))
    run = subprocess.Popen(
        [sys.executable, "-m", "labctl", "run", "site.yml", "-i", str(inventory_file), "-e", "nap=300"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        kept = tmp_path / "runs/latest/resume.jsonl"
        eventually(
            lambda: kept.exists() and '"task": "long"' in kept.read_text(), 90, "worker2 never got there"
        )
        eventually(lambda: "long" in lines("worker1"), 30, "worker1 never got there")
        refused = labctl("run", "--resume", "last", "-e", "nap=0", cwd=tmp_path)
        assert (refused.returncode, "it is still running" in refused.stderr) == (5, True), refused.stderr
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert "s3cret" not in kept.read_text()
    assert "--resume" in labctl("runs", cwd=tmp_path).stdout

    stamps = {name: lines(name)[:2] for name in ("worker1", "worker2")}
    assert set(map(tuple, stamps.values())) == {("first", "hidden")}
    done = labctl("run", "--resume", "last", "-e", "nap=0", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, long in (("worker1", 2), ("worker2", 1)):
        found = lines(name)
        counts = {word: sum(line.split()[0] == word for line in found) for word in ("first", "long", "told")}
        assert counts == {"first": 1, "long": long, "told": 1}, found
        assert found.count("hidden") == 2, "what no_log hides is run again, not kept"
        last = next(line.split() for line in found if line.startswith("last"))
        assert (last[1].isdigit(), last[2]) == (True, "6")
        assert name in found
    assert "TASK [first]" not in done.stdout

    again = labctl("run", "--resume", "last", cwd=tmp_path)
    assert (again.returncode, "it has ended well" in again.stderr) == (5, True)
