"""(a) 30 `command` tasks, each a process that adds a line to a file, on 1 to 200 hosts; (g) the same far away."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Measured
from benchmarks.workload import Rounds, Scene, Workload, counted

TASKS = 30
_PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n"
_TASK = """\
    - name: line {number}
      command: sh -c "echo {number} >> {{{{ work }}}}/{{{{ inventory_hostname }}}}/lines"
"""
_DEPLOY = "from pyinfra import host\nfrom pyinfra.operations import server\n\n"
_OPERATION = """\
server.shell(name="line {number}", commands=[f"echo {number} >> {{host.data.work}}/{{host.name}}/lines"])
"""


class Commands(Workload):
    tools = ("labctl", "labctl:first", "ansible", "mitogen", "pyinfra", "paramiko", "shell", "shell:first")

    def __init__(
        self, name: str, hosts: int, most_rounds: Rounds | None = None, *, delayed: bool = False
    ) -> None:
        self.name, self.hosts, self.delayed = name, hosts, delayed
        self.most_rounds = most_rounds or Rounds()
        far = ", 30 ms away" if delayed else ""
        self.title = f"{TASKS} commands on {hosts} host{'s' * (hosts > 1)}{far}"

    def write(self, folder: Path) -> None:
        for suffix, count in (("", TASKS), ("-first", 1)):
            numbers = range(1, count + 1)
            play = _PLAY + "".join(_TASK.format(number=number) for number in numbers)
            (folder / f"play{suffix}.yml").write_text(play)
            deploy = _DEPLOY + "".join(_OPERATION.format(number=number) for number in numbers)
            (folder / f"deploy{suffix}.py").write_text(deploy)
            lines = [f"echo {number} >> {folder}/work/{{host}}/lines\n" for number in numbers]
            (folder / f"commands{suffix}").write_text("".join(lines))

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:  # noqa: ARG002
        count = 1 if tool.endswith(":first") else TASKS
        counted(scene, "lines", [str(number) for number in range(1, count + 1)])


WORKLOADS = [
    Commands("a1", 1),
    Commands("a10", 10, Rounds(ansible=3)),
    Commands("a50", 50, Rounds(ansible=1, mitogen=2)),
    Commands("a200", 200, Rounds(ansible=1, mitogen=1)),
    Commands("g", 10, Rounds(ansible=2, mitogen=3), delayed=True),
]
