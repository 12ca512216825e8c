"""(d) One task with a loop of 1,000 commands on one host."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Measured
from benchmarks.workload import Rounds, Scene, Workload, counted

ITEMS = 1000
_PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: lines
      command: sh -c "echo {{ item }} >> {{ work }}/{{ inventory_hostname }}/lines"
      loop: "{{ range(1, @END@) | list }}"
"""
_DEPLOY = """\
from pyinfra import host
from pyinfra.operations import server

path = f"{host.data.work}/{host.name}/lines"
server.shell(name="lines", commands=[f"echo {item} >> {path}" for item in range(1, @END@)])
"""


class Loop(Workload):
    name = "d"
    hosts = 1
    title = f"a loop of {ITEMS} commands on 1 host"
    tools = ("labctl", "ansible", "mitogen", "pyinfra", "shell")
    most_rounds = Rounds(ansible=1, mitogen=3)

    def write(self, folder: Path) -> None:
        (folder / "play.yml").write_text(_PLAY.replace("@END@", str(ITEMS + 1)))
        (folder / "deploy.py").write_text(_DEPLOY.replace("@END@", str(ITEMS + 1)))
        lines = [f"echo {item} >> {folder}/work/{{host}}/lines\n" for item in range(1, ITEMS + 1)]
        (folder / "commands").write_text("".join(lines))

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:  # noqa: ARG002
        counted(scene, "lines", [str(item) for item in range(1, ITEMS + 1)])


WORKLOADS = [Loop()]
