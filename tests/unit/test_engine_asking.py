"""A task that is one command is asked of all hosts by one thread, and comes to what it comes to host by host."""

from __future__ import annotations

import threading
import time

import pytest

from labctl.engine import asking
from labctl.engine.interrupt import Stop
from labctl.events import Kind
from labctl.node.link import Link
from labctl.ssh import Connections
from tests.processes import gone
from tests.unit.said import told

INVENTORY = """\
all:
  hosts:
    a: {own: 1, looked_up: "{{ lookup('pipe', 'echo a') }}"}
    b: {own: 2, looked_up: plain}
    c: {own: 3, looked_up: plain, less: true}
  vars: {ansible_connection: local}
"""

ORDINARY = """
- hosts: all
  gather_facts: false
  tasks:
    - ping:
    - {command: "echo {{ own }} {{ inventory_hostname }}", register: said}
    - {command: "echo more {{ said.stdout }}", when: own > 1}
    - {shell: "echo out; echo err >&2; exit {{ own - 1 }}", ignore_errors: true, register: bad}
    - {command: cat, args: {stdin: "{{ bad.rc }}", stdin_add_newline: false}}
    - {command: cat, args: {stdin: "{{ 'x' * 20000 }}"}}
    - {command: "echo $HOME ~"}
    - {command: no-such-program, ignore_errors: true}
    - {command: pwd, args: {chdir: /tmp}}
    - {command: pwd, args: {chdir: /no/such/folder}, ignore_errors: true}
    - {command: rm x, args: {creates: /tmp}}
    - {command: rm x, args: {removes: "/no-such-*"}}
    - {command: "echo {{ looked_up }}"}
    - {command: "echo {{ missing }}", ignore_errors: true}
    - {command: "echo {{ less }}", ignore_errors: true}
    - {command: "", ignore_errors: true}
    - {command: echo, changed_when: false}
    - {command: "echo {{ own }}", register: here, changed_when: here.stdout == '2', notify: told}
    - {command: "echo {{ own }}", register: here, failed_when: here.stdout == '2', ignore_errors: true}
    - {command: "false", failed_when: false, register: here, changed_when: here.rc == 0}
    - {command: echo, changed_when: nothing_of_that_name, ignore_errors: true}
    - {command: echo, notify: told, when: own == 3}
    - {shell: "kill -9 $$", when: own == 1}
    - command: echo those that are left
  handlers:
    - {name: told, command: "echo {{ own }}"}
"""

UNUSUAL = [
    "{command: 'echo {{ item }}', loop: [1, 2]}",
    "{command: echo x, environment: {A: b}}",
    "{command: echo x, no_log: true}",
    "{command: echo x, delegate_to: b}",
    "{command: echo x, run_once: true}",
    "{command: echo x, timeout: 20}",
    "{command: echo x, until: true, retries: 1}",
    "{command: echo x, async: 20, poll: 1}",
    "{command: echo x, check_mode: true}",
    "{script: s.sh}",
]


@pytest.fixture
def real(play):
    play.connections = Connections()
    play.write("s.sh", "#!/bin/sh\n")
    return play


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Of how many hosts each task was asked without a thread of their own."""
    counts: list[int] = []
    run, leave = asking.run, asking._Round._leave

    def counting(flow, step, hosts, begun, most):
        counts.append(len(hosts))
        run(flow, step, hosts, begun, most)

    def leaving(this, index):
        counts[-1] -= 1
        leave(this, index)

    monkeypatch.setattr(asking, "run", counting)
    monkeypatch.setattr(asking._Round, "_leave", leaving)
    return counts


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("", {}),
        ("", {"forks": 1, "verbosity": 2}),
        ("  serial: 2\n", {"diff": True}),
        ("  any_errors_fatal: true\n", {}),
    ],
)
def test_asking_all_comes_to_what_each_host_alone_comes_to(real, monkeypatch, counted, head, options):
    text = ORDINARY.replace("  gather_facts: false\n", f"  gather_facts: false\n{head}")
    with monkeypatch.context() as patch:
        patch.setattr(asking, "suits", lambda *_: False)
        alone = real(text, inventory=INVENTORY, **options)
    assert not counted
    real.connections = Connections()
    ran = real(text, inventory=INVENTORY, **options)
    assert sum(counted) >= 10
    assert told(ran) == told(alone)
    assert ran.result.stats == alone.result.stats
    assert ran.result.exit_code == alone.result.exit_code


@pytest.mark.parametrize("task", UNUSUAL)
def test_what_is_unusual_is_left_to_each_host(real, counted, task):
    text = f"- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n    - {task}\n"
    real(text, inventory=INVENTORY)
    assert not counted


def test_a_host_without_an_agent_is_left_and_the_others_are_asked(real, counted):
    text = """
    - {hosts: "a,b", gather_facts: false, tasks: [ping: ]}
    - {hosts: all, gather_facts: false, tasks: [command: echo x]}
    """
    ran = real(text, inventory=INVENTORY)
    assert counted == [2]
    assert [ran.recap(host)["changed"] for host in "abc"] == [1, 1, 1]


def test_those_that_are_left_are_at_work_with_the_others(real, counted, tmp_path):
    """One host has no agent yet, and what it does is what the others wait for."""
    gate = tmp_path / "gate"
    wait = f"until [ -e {gate} ]; do sleep 0.01; done"
    text = f"""
    - {{hosts: "a,b", gather_facts: false, tasks: [ping: ]}}
    - hosts: all
      gather_facts: false
      tasks:
        - shell: "{{{{ 'touch {gate}' if own == 3 else '{wait}' }}}}"
    """
    assert real(text, inventory=INVENTORY).result.exit_code == 0
    assert counted == [2]


def test_no_more_hosts_at_once_than_forks_and_throttle_allow(real, counted, tmp_path):
    held = tmp_path / "held"
    alone = f"mkdir {held} && sleep 0.05 && rmdir {held}"
    text = f"""
    - hosts: all
      gather_facts: false
      tasks:
        - ping:
        - {{shell: "{alone}", throttle: 1}}
    """
    assert real(text, inventory=INVENTORY).result.exit_code == 0
    real.connections = Connections()
    assert real(text.replace(", throttle: 1", ""), inventory=INVENTORY, forks=1).result.exit_code == 0
    assert counted == [3, 3]


def test_a_slow_host_keeps_nobody_from_being_told_of_the_others(real, counted, tmp_path):
    gate = tmp_path / "gate"

    def open_the_gate(event) -> None:
        if event.kind is Kind.RESULT and event.task == "wait" and event.host == "c":
            gate.touch()

    text = f"""
    - hosts: all
      gather_facts: false
      tasks:
        - ping:
        - name: wait
          shell: "{{{{ 'true' if own == 3 else 'until [ -e {gate} ]; do sleep 0.01; done' }}}}"
    """
    ran = real(text, inventory=INVENTORY, subscriber=open_the_gate)
    assert counted == [3]
    assert next(host for task, host, _ in ran.results if task == "wait") == "c"


def test_output_comes_while_the_command_runs(real, counted, tmp_path):
    gate = tmp_path / "gate"

    def open_the_gate(event) -> None:
        if event.kind is Kind.OUTPUT and event.data["text"] == "first\n":
            gate.touch()

    text = f"""
    - hosts: a
      gather_facts: false
      tasks:
        - ping:
        - shell: "echo first; until [ -e {gate} ]; do sleep 0.01; done; echo second"
          register: said
        - assert: {{that: "said.stdout_lines == ['first', 'second']"}}
    """
    ran = real(text, inventory=INVENTORY, subscriber=open_the_gate)
    assert counted == [1]
    assert ran.result.exit_code == 0
    assert "".join(event.data["text"] for event in ran.of(Kind.OUTPUT)) == "first\nsecond\n"


def test_a_lost_connection_makes_its_host_unreachable_and_no_other(real, counted):
    text = """
    - hosts: all
      gather_facts: false
      tasks:
        - ping:
        - shell: "{{ 'kill -9 $PPID; sleep 60' if own == 2 else 'true' }}"
        - command: echo those that are left
    """
    ran = real(text, inventory=INVENTORY)
    assert counted == [3, 2]
    assert ran.result.exit_code == 4
    assert ran.recap("b") == {"ok": 1, "unreachable": 1}
    assert ran.recap("a") == {"ok": 3, "changed": 2}


def test_an_interrupt_ends_what_was_asked_for(real, counted, tmp_path):
    stop, pids = Stop(), tmp_path / "pids"

    def ask_it_to() -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and not (pids.exists() and len(pids.read_text().split()) == 3):
            time.sleep(0.01)
        stop.ask()

    text = f"""
    - hosts: all
      gather_facts: false
      tasks:
        - ping:
        - shell: "echo $$ >> {pids}; exec sleep 600"
    """
    threading.Thread(target=ask_it_to).start()
    ran = real(text, inventory=INVENTORY, stop=stop)
    assert ran.result.exit_code == 130
    assert counted == [3]
    assert gone([int(pid) for pid in pids.read_text().split()])


def test_one_request_a_host_and_no_thread_that_waits_for_it(real, counted, monkeypatch):
    asked: list[tuple[str, str]] = []
    request = Link.request

    def noting(link, header, *args):
        if header["op"] == "run":
            asked.append((link.host, threading.current_thread().name))
        return request(link, header, *args)

    monkeypatch.setattr(Link, "request", noting)
    tasks = "".join(f"    - command: echo {n}\n" for n in range(5))
    real(f"- hosts: all\n  gather_facts: false\n  tasks:\n    - ping:\n{tasks}", inventory=INVENTORY)
    assert counted == [3] * 5
    assert asked == [(host, threading.current_thread().name) for _ in range(5) for host in "abc"]
