"""The playbook of the main job, without nodes."""

from __future__ import annotations

from pathlib import Path

from labctl.events import Kind
from labctl.playbook import load_playbook
from labctl.task_types import Registry

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
NOISY = """\
from labctl.task_types import Args as Arguments
ON_CONTROLLER = True
def run(args, ctx):
    return {"pairs": [2], "last": 4 + 2 * int(ctx.variables["turn"])}
"""
PLAY = """\
- hosts: a
  gather_facts: false
  vars: {possible_strategies: [native, optimized], pairs: 2}
  tasks:
    - include_tasks: again.yml
      loop: "{{ range(reruns | int) | list }}"
      loop_control: {loop_var: turn}
      vars: {reruns: 2}
"""


def test_the_playbook_is_well_formed() -> None:
    assert load_playbook(str(PLAYBOOKS / "migration_compare.yml"), Registry())


def test_disturbed_pairs_are_run_again_with_numbers_of_their_own(play) -> None:
    play.write("tasks/noisy_pairs.py", NOISY)
    play.write("again.yml", (PLAYBOOKS / "migration_compare/again.yml").read_text())
    play.write(
        "trial.yml", "- {name: trial, probe: '{{ trial.trial }} {{ trial.strategy }} {{ trial.pair }}'}"
    )
    ran = play(PLAY)
    said = [e.data["result"]["text"] for e in ran.of(Kind.RESULT) if e.task == "trial"]
    assert said == ["5 optimized 2", "6 native 2", "7 optimized 2", "8 native 2"]
