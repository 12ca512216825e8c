"""The commands of a loop's turns go in one request, and come to what they come to one by one."""

from __future__ import annotations

import threading
import time

import pytest

from labctl.engine import series
from labctl.engine.interrupt import Stop
from labctl.events import Kind
from labctl.node.link import Link
from labctl.ssh import Connections
from tests.processes import gone
from tests.unit.said import told

INVENTORY = """\
all:
  hosts:
    a: {own: 1}
    b: {own: 2}
  vars: {ansible_connection: local, looked_up: "{{ lookup('pipe', 'echo it') }}"}
"""

ORDINARY = """
- hosts: all
  gather_facts: false
  tasks:
    - {command: "echo {{ item }} {{ own }}", loop: [1, 2, 3], register: said}
    - {command: "echo {{ item.stdout }}", loop: "{{ said.results }}", loop_control: {label: "{{ item.stdout }}"}}
    - {shell: "echo $PPID", loop: [1], register: alone}
    - {command: "echo {{ item }}", loop: [1, 2, 3], when: item != own}
    - {command: "echo {{ item }}", loop: [1, 2, 3], changed_when: item == 2, notify: told}
    - {command: "echo {{ item }}", loop: [1, 2, 3], failed_when: item == own, ignore_errors: true}
    - {shell: "exit {{ item }}", loop: [0, 1, 0, 2], ignore_errors: true}
    - {command: "no-such-program-{{ item }}", loop: [1, 2], ignore_errors: true}
    - {command: "{{ item }}", loop: ["echo a", "", "echo b"], ignore_errors: true}
    - {command: "echo {{ item }} {{ looked_up }}", loop: [1, 2]}
    - {command: "echo {{ item }} {{ looked_up if item == 2 else '' }}", loop: [1, 2, 3, 4]}
    - {command: "echo {{ item }} $HOME", loop: [1, 2]}
    - {command: "echo {{ missing if item == 2 else item }}", loop: [1, 2, 3], ignore_errors: true}
    - {command: "echo {{ chain.stdout | default('none') }} {{ item }}", loop: [1, 2, 3], register: chain}
    - {command: "echo {{ item }}", loop: [1, 2, 3], register: seen, when: seen is not defined or seen.rc == 0}
    - {command: "cat", args: {stdin: "{{ item }}", stdin_add_newline: false}, loop: [x, "", "yy"], register: cat}
    - assert: {that: "cat.results | map(attribute='stdout') | list == ['x', '', 'yy']"}
    - {command: "touch {{ item }}", args: {creates: "{{ item }}"}, loop: [/tmp, /tmp]}
    - {command: pwd, args: {chdir: "{{ item }}"}, loop: [/tmp, /no/such, /], ignore_errors: true}
    - {command: "echo {{ item }} {{ n }} {{ ansible_loop.last }}", loop: [1, 2], loop_control: {index_var: n, extended: true}}
    - {command: "echo {{ item }}", loop: [1, 2, 3], loop_control: {break_when: item == own}}
    - {command: "echo {{ item }}", loop: [1, 2], no_log: true}
    - {command: "echo {{ item }}", loop: [1, 2], environment: {A: b}}
    - {command: "echo {{ item }}", loop: [1, 2], until: true, retries: 1}
    - {command: echo the same, loop: [1, 2]}
    - {shell: "exit {{ item }}", loop: [0, 1]}
  handlers:
    - {name: told, command: "echo {{ item }}", loop: [1, 2]}
"""


@pytest.fixture
def real(play):
    play.connections = Connections()
    return play


@pytest.fixture
def requests(monkeypatch) -> list[int]:
    """Of how many commands each request was."""
    counts: list[int] = []
    request = Link.request

    def counting(link, header, *args):
        if header["op"] in ("run", "each"):
            counts.append(len(header.get("commands", [None])))
        return request(link, header, *args)

    monkeypatch.setattr(Link, "request", counting)
    return counts


@pytest.mark.parametrize("options", [{}, {"verbosity": 2, "forks": 1}])
def test_a_series_comes_to_what_the_turns_come_to_one_by_one(real, monkeypatch, requests, options):
    text = ORDINARY.replace("echo $PPID", "echo $USER")
    with monkeypatch.context() as patch:
        patch.setattr(series, "suits", lambda *_: False)
        alone = real(text, inventory=INVENTORY, **options)
    assert set(requests) == {1}
    one_by_one = len(requests)
    requests.clear()
    real.connections = Connections()
    ran = real(text, inventory=INVENTORY, **options)
    assert len(requests) < 0.7 * one_by_one
    assert sum(requests) == one_by_one
    assert told(ran) == told(alone)
    assert ran.result.stats == alone.result.stats


def test_they_run_in_their_order_one_after_the_other(real, requests, tmp_path):
    log = tmp_path / "log"
    text = f"""
    - hosts: a
      gather_facts: false
      tasks:
        - shell: "echo begin {{{{ item }}}} >> {log}; sleep 0.01; echo end {{{{ item }}}} >> {log}"
          loop: "{{{{ range(120) | list }}}}"
    """
    real(text, inventory=INVENTORY)
    assert log.read_text().splitlines() == [f"{what} {n}" for n in range(120) for what in ("begin", "end")]
    assert requests == [50, 50, 20]


def test_each_turn_is_told_of_when_it_has_ended(real, requests, tmp_path):
    gate = tmp_path / "gate"

    def open_the_gate(event) -> None:
        if event.kind is Kind.ITEM and event.data["label"] == 1:
            gate.touch()

    text = f"""
    - hosts: a
      gather_facts: false
      tasks:
        - shell: "[ {{{{ item }}}} = 1 ] || until [ -e {gate} ]; do sleep 0.01; done"
          loop: [1, 2]
    """
    assert real(text, inventory=INVENTORY, subscriber=open_the_gate).result.exit_code == 0
    assert requests == [2]


def test_a_lost_connection_ends_the_loop(real, requests, tmp_path):
    text = f"""
    - hosts: a
      gather_facts: false
      tasks:
        - shell: "[ {{{{ item }}}} != 2 ] || kill -9 $PPID; echo {{{{ item }}}} >> {tmp_path}/log"
          loop: [1, 2, 3]
    """
    ran = real(text, inventory=INVENTORY)
    assert requests == [3]
    assert ran.result.exit_code == 4
    assert [event.data["status"] for event in ran.of(Kind.ITEM)] == ["changed", "unreachable"]


def test_an_interrupt_ends_the_turn_and_those_that_were_asked_for(real, tmp_path):
    stop, log = Stop(), tmp_path / "log"

    def ask_it_to() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and not (log.exists() and log.read_text().endswith("\n")):
            time.sleep(0.01)
        stop.ask()

    text = f"""
    - hosts: a
      gather_facts: false
      tasks: [{{shell: "echo $$ >> {log}; exec sleep 600", loop: [1, 2, 3]}}]
    """
    threading.Thread(target=ask_it_to).start()
    assert real(text, inventory=INVENTORY, stop=stop).result.exit_code == 130
    (pid,) = log.read_text().split()
    assert gone([int(pid)])


def test_a_turn_for_another_user_is_asked_of_its_own_agent(real, requests):
    text = """
    - hosts: a
      gather_facts: false
      become: true
      vars: {ansible_python_interpreter: /usr/bin/python3}
      tasks:
        - {command: id -un, become_user: "{{ item }}", loop: [root, root, daemon, daemon, root], register: who}
        - assert: {that: "who.results | map(attribute='stdout') | list == who.results | map(attribute='item') | list"}
    """
    assert real(text, inventory=INVENTORY).result.exit_code == 0
    assert requests == [2, 2, 1]


VARYING = """
- hosts: a
  gather_facts: false
  tasks:
    - {{command: "touch {log}/{{{{ item }}}}", loop: [a, a, b], when: "(log ~ '/' ~ item) is not exists"}}
    - {{command: "touch {log}/1{{{{ item }}}}", loop: [x, y], when: "not ([log ~ '/1x'] | select('exists'))"}}
    - {{command: "touch {log}/2{{{{ item }}}}", loop: [x, y], when: "not (log ~ '/2*') | fileglob"}}
  vars: {{log: "{log}"}}
"""


def test_what_a_turn_may_change_on_the_controller_is_looked_at_when_it_is_its_turn(real, requests, tmp_path):
    ran = real(VARYING.format(log=tmp_path), inventory=INVENTORY)
    assert [event.data["status"] for event in ran.of(Kind.ITEM)] == (
        ["changed", "skipped", "changed", "changed", "skipped", "changed", "skipped"]
    )
    assert set(requests) == {1}


def test_what_comes_out_at_random_decides_once(real, requests, tmp_path):
    text = f"""
    - hosts: a
      gather_facts: false
      tasks:
        - {{shell: "echo {{{{ item }}}} >> {tmp_path}/log", loop: "{{{{ range(40) | list }}}}", when: 2 | random == 1}}
    """
    ran = real(text, inventory=INVENTORY)
    done = [str(event.data["label"]) for event in ran.of(Kind.ITEM) if event.data["status"] == "changed"]
    assert (tmp_path / "log").read_text().split() == done
    assert len(requests) == len(done)


def test_the_time_is_that_of_the_turn(real, requests):
    text = """
    - hosts: a
      gather_facts: false
      tasks:
        - {shell: "echo {{ now().timestamp() }}; sleep {{ item }}", loop: [0.2, 0], register: told}
        - assert: {that: "told.results[1].stdout | float - told.results[0].stdout | float >= 0.2"}
    """
    assert real(text, inventory=INVENTORY).result.exit_code == 0


def test_where_what_is_unreachable_is_ignored_each_turn_has_its_own_try(real, requests, tmp_path):
    text = f"""
    - hosts: a
      gather_facts: false
      tasks:
        - shell: "[ {{{{ item }}}} != 2 ] || kill -9 $PPID; echo {{{{ item }}}} >> {tmp_path}/log"
          loop: [1, 2, 3]
          ignore_unreachable: true
    """
    ran = real(text, inventory=INVENTORY)
    assert [event.data["status"] for event in ran.of(Kind.ITEM)] == ["changed", "unreachable", "changed"]
    assert (tmp_path / "log").read_text().split() == ["1", "2", "3"]
    assert requests == [1, 1, 1]
