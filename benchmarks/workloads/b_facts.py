"""(b) Gather the facts of 50 hosts, and look at some of them."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.measure import Measured
from benchmarks.workload import Rounds, Scene, Workload, WrongWork

_PLAY = """\
- hosts: all
  gather_facts: true
  tasks:
    - assert:
        quiet: true
        that:
          - ansible_facts.hostname == lookup('pipe', 'uname -n').split('.')[0]
          - ansible_facts.kernel == lookup('pipe', 'uname -r')
          - ansible_facts.memtotal_mb > 0 and ansible_facts.processor_vcpus > 0
          - ansible_facts.mounts | length > 0 and ansible_facts.interfaces | length > 0
          - ansible_facts.distribution | length > 0 and ansible_facts.os_family | length > 0
          - ansible_facts.date_time.epoch | int > 1600000000
          - ansible_facts.python.version.major == 3
          - ansible_facts.user_id | length > 0 and ansible_facts.env.HOME is search(inventory_hostname)
"""


class Facts(Workload):
    name = "b"
    hosts = 50
    title = "facts of 50 hosts"
    tools = ("labctl", "ansible", "mitogen")
    most_rounds = Rounds(ansible=3)

    def write(self, folder: Path) -> None:
        (folder / "play.yml").write_text(_PLAY)

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:  # noqa: ARG002
        recapped(scene, measured, 2)


def recapped(scene: Scene, measured: Measured, tasks: int) -> None:
    """The recap must have every host with `tasks` tasks ok (labctl and Ansible print it alike)."""
    rows = dict(re.findall(r"^(\S+)\s*:?\s+ok=(\d+)", measured.output, re.MULTILINE))
    wrong = [host.name for host in scene.hosts if rows.get(host.name) != str(tasks)]
    if wrong:
        raise WrongWork(f"{len(wrong)} hosts, {wrong[0]} first, have not {tasks} tasks ok in the recap")


WORKLOADS = [Facts()]
