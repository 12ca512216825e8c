"""(f) 500 debug tasks on 50 hosts: no connection, only the engine."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Measured
from benchmarks.workload import Rounds, Scene, Workload, WrongWork
from benchmarks.workloads.b_facts import recapped

TASKS, HOSTS = 500, 50
_TASK = """\
    - name: word {number}
      debug: {{msg: "word {number} of {{{{ inventory_hostname }}}}"}}
"""


class Debug(Workload):
    name = "f"
    hosts = HOSTS
    title = f"{TASKS} debug tasks on {HOSTS} hosts"
    tools = ("labctl", "ansible")
    most_rounds = Rounds(ansible=1)

    def write(self, folder: Path) -> None:
        tasks = "".join(_TASK.format(number=number) for number in range(1, TASKS + 1))
        (folder / "play.yml").write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}")

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:
        recapped(scene, measured, TASKS)
        for number in range(1, TASKS + 1):
            found = measured.output.count(f"word {number} of ")
            if found != HOSTS:
                raise WrongWork(f"{tool} printed 'word {number}' {found} times for {HOSTS} hosts")


WORKLOADS = [Debug()]
