"""How often a run asks a node for something: a task whose state is as it should be asks once."""

from __future__ import annotations

from collections import Counter

import pytest

from labctl.node.link import Link
from labctl.ssh import Connections

TASKS = """\
- hosts: all
  gather_facts: false
  tasks:
    - {{name: command, command: /bin/true}}
    - {{name: shell, shell: "exit 0", changed_when: false}}
    - {{name: copy, copy: {{content: "hello\\n", dest: "{folder}/copied", mode: "0600"}}}}
    - {{name: template, template: {{src: t.j2, dest: "{folder}/rendered"}}}}
    - {{name: file, file: {{path: "{folder}/made", state: directory, mode: "0750"}}}}
    - {{name: line, lineinfile: {{path: "{folder}/copied", line: hello}}}}
    - {{name: stat, stat: {{path: "{folder}/copied"}}, register: about}}
    - {{name: debug, debug: {{msg: "{{{{ about.stat.size }}}}"}}}}
    - {{name: fact, set_fact: {{size: "{{{{ about.stat.size }}}}"}}}}
    - {{name: assert, assert: {{that: size == 6}}}}
    - {{name: loop, command: "/bin/echo {{{{ item }}}}", loop: [1, 2, 3], changed_when: false}}
"""
ASKING = 7  # tasks that speak with the node, the loop apart


@pytest.fixture
def asked(monkeypatch):
    """Counts the requests of every agent, by what they ask for."""
    counts: Counter[str] = Counter()
    request = Link.request

    def counting(link, header, *args):
        counts[header["op"]] += 1
        return request(link, header, *args)

    monkeypatch.setattr(Link, "request", counting)
    return counts


@pytest.fixture
def run(play, tmp_path):
    (tmp_path / "t.j2").write_text("{{ inventory_hostname }}")

    def run_twice_and_count(counts):
        for _ in range(2):
            counts.clear()
            play.connections = Connections()
            ran = play(
                TASKS.format(folder=tmp_path),
                inventory="all: {hosts: {here: {ansible_connection: local}}}",
            )
        return ran

    return run_twice_and_count


def test_one_for_each_task_and_for_the_turns_of_a_loop(run, asked):
    ran = run(asked)
    assert ran.recap("here") == {"ok": 11, "changed": 1}
    assert sum(asked.values()) == ASKING + 1
    assert asked["each"] == 1
