"""Tasks that only compute are done for all hosts at once, and come to what they come to host by host."""

from __future__ import annotations

import json
import threading

import pytest

from labctl.engine import batch
from labctl.events import Kind
from labctl.vault import Keyring

INVENTORY = """\
all:
  hosts:
    a: {own: 1, password: s3cret-of-a, looked_up: "{{ lookup('pipe', 'echo a') }}"}
    b: {own: 2, password: s3cret-of-b, looked_up: "plain"}
    c: {own: 3, password: s3cret-of-c, looked_up: "plain", less: true}
  vars:
    text: "own is {{ own }}"
    nested: {list: [1, "{{ own }}"], map: {key: "{{ text }}"}}
"""

ORDINARY = """
- hosts: all
  gather_facts: false
  vars: {shown: "{{ text | upper }}"}
  tasks:
    - debug: {msg: always the same}
    - {name: "named {{ text }}", debug: {msg: "{{ inventory_hostname }} says {{ shown }}"}, register: said}
    - debug: {msg: "{{ nested }}", verbosity: 0}
    - debug: {msg: [1, "{{ own }}", "{{ omit }}"]}
    - debug: {msg: "{{ omit }}"}
    - debug: {var: nested.list}
    - debug: {var: nothing}
    - debug: {msg: more, verbosity: 2}
    - {debug: {msg: "{{ said.msg }}"}, when: own > 1}
    - {debug: {msg: never}, when: [true, "own > 5"]}
    - set_fact: {made: "{{ own + 1 }}", "name_{{ own }}": [own, "{{ own }}"], fixed: 5}
    - {set_fact: {kept: "{{ made }}", cacheable: true}, register: set}
    - debug: {msg: "{{ made }} {{ ansible_facts.kept }} {{ set.ansible_facts.kept }} {{ fixed + 1 }}"}
    - {assert: {that: [own > 0, "made == own + 1"], success_msg: "fine, {{ own }}"}, register: held}
    - {assert: {that: own < 3, fail_msg: "too much: {{ own }}"}, ignore_errors: true}
    - {debug: {msg: "{{ password }}"}, no_log: false, diff: true}
    - debug: {msg: "{{ made }} of {{ missing }}"}
      ignore_errors: true
    - {debug: {msg: "{{ less }}"}, ignore_errors: true}
    - debug: {msg: "{{ looked_up }}"}
    - block:
        - assert: {that: own < 2}
        - debug: {msg: "only {{ own }}"}
      rescue:
        - debug: {msg: "{{ ansible_failed_task.action }} {{ ansible_failed_result.assertion }}"}
    - {assert: {that: own < 3}}
    - debug: {msg: those that are left}
"""

UNUSUAL = [
    "{debug: {msg: '{{ item }}'}, loop: [1, 2]}",
    "{debug: {msg: x}, loop: []}",
    "{debug: {msg: x}, no_log: true}",
    "{debug: {msg: x}, no_log: '{{ own == 1 }}'}",
    "{debug: {msg: x}, ignore_errors: '{{ own == 1 }}'}",
    "{debug: {msg: x}, delegate_to: b}",
    "{debug: {msg: x}, run_once: true}",
    "{debug: {msg: x}, changed_when: own == 1}",
    "{debug: {msg: x}, failed_when: own == 1, ignore_errors: true}",
    "{debug: {msg: x}, until: true, retries: 1}",
    "{debug: {msg: x}, environment: {A: b}}",
    "{debug: {msg: x}, timeout: 5}",
    "{debug: {msg: x}, check_mode: true}",
    "{debug: {msg: x}, notify: h, changed_when: true}",
    "{debug: '{{ {\"msg\": own} }}'}",
    "{action: '{{ \"debug\" }} msg=x'}",
]


def told(ran) -> list[object]:
    """Every event but for what differs from run to run; the results of a task by host."""
    found = []
    for event in ran.events:
        if event.kind in (Kind.RUN_START, Kind.RUN_END):
            continue
        data = {name: value for name, value in event.data.items() if name != "seconds"}
        found.append([event.kind.value, event.task, event.host, json.loads(json.dumps(data, default=str))])
    tasks: list[list[object]] = [[]]
    for each in found:
        if each[0] == "task_start":
            tasks.append([])
        tasks[-1].append(each)
    return [sorted(task, key=lambda each: (each[0], each[2] or "")) for task in tasks]


def kept(ran, name: str) -> list[object]:
    lines = (ran.result.run_dir / name).read_text().splitlines()
    found = []
    for record in map(json.loads, lines):
        record.pop("time", None)
        if record.get("event") not in ("run_start", "run_end"):
            record.get("data", {}).pop("seconds", None)
            found.append(json.dumps(record))
    return sorted(found)


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """On how many hosts each batch did its task."""
    counts: list[int] = []
    run = batch.run

    def counting(flow, step, hosts, begun):
        counts.append(run(flow, step, hosts, begun))
        return counts[-1]

    monkeypatch.setattr(batch, "run", counting)
    return counts


def host_by_host(play, monkeypatch, text: str, **options):
    with monkeypatch.context() as patch:
        patch.setattr(batch, "suits", lambda *_: False)
        return play(text, inventory=INVENTORY, **options)


@pytest.mark.parametrize("options", [{}, {"verbosity": 2}, {"check": True}, {"diff": True}])
@pytest.mark.parametrize("head", ["", "  strategy: free\n", "  serial: 2\n", "  any_errors_fatal: true\n"])
def test_a_batch_comes_to_what_each_host_alone_comes_to(play, monkeypatch, counted, options, head):
    text = ORDINARY.replace("  gather_facts: false\n", f"  gather_facts: false\n{head}")
    alone = host_by_host(play, monkeypatch, text, **options)
    assert not counted
    ran = play(text, inventory=INVENTORY, **options)
    assert bool(counted) is ("check" not in options)
    if not head.startswith("  strategy"):
        assert told(ran) == told(alone)
    assert kept(ran, "resume.jsonl") == kept(alone, "resume.jsonl")
    assert kept(ran, "events.jsonl") == kept(alone, "events.jsonl")
    assert ran.result.stats == alone.result.stats
    assert ran.result.exit_code == alone.result.exit_code


def test_secrets_are_hidden_in_a_batch(play, counted, monkeypatch):
    keyring = Keyring()
    keyring.masks.add("s3cret-s3cret", open_=True)
    monkeypatch.setattr("labctl.vault.keyring._current", keyring)
    text = "- hosts: all\n  gather_facts: false\n  tasks: [{set_fact: {x: 'is {{ pin_code_secret }}'}, register: r}]"
    ran = play(text, hosts="a,b", extra_vars={"pin_code_secret": "s3cret-s3cret"})
    assert counted == [2]
    folder = ran.result.run_dir
    assert "s3cret-s3cret" not in (folder / "events.jsonl").read_text()
    line = json.loads((folder / "resume.jsonl").read_text().splitlines()[0])
    assert line["again"] is True
    assert "s3cret-s3cret" not in json.dumps(line)


@pytest.mark.parametrize("task", UNUSUAL)
def test_what_is_out_of_the_ordinary_is_left_to_a_task_for_each_host(play, monkeypatch, counted, task):
    text = f"""
- hosts: all
  gather_facts: false
  tasks: [{task}]
  handlers: [{{name: h, debug: {{msg: handled}}}}]
"""
    ran = play(text, inventory=INVENTORY)
    assert counted == ([3] if "notify" in task else [])  # the handler itself
    assert told(ran) == told(host_by_host(play, monkeypatch, text))


def test_a_host_that_has_to_wait_and_those_after_it_are_done_in_threads(play, counted):
    play.write(
        "filter_plugins/own.py",
        "import threading\nclass FilterModule:\n"
        "    def filters(self):\n        return {'thread': lambda value: threading.current_thread().name}\n",
    )
    ran = play(
        """
        - hosts: a,b,c
          gather_facts: false
          tasks:
            - {name: t, debug: {msg: "{{ x }}"}}
        """,
        inventory='all: {hosts: {a: {x: 1}, b: {x: "{{ 1 | thread }}"}, c: {x: 3}}}',
    )
    assert counted == [1]
    names = [ran.value("t", host)["msg"] for host in "abc"]
    assert (names[0], names[2]) == (1, 3)
    assert names[1] != threading.main_thread().name


def test_many_hosts_are_told_of_in_several_bursts_and_in_order(play, counted):
    hosts = [f"h{number}" for number in range(250)]
    ran = play(
        "- {hosts: all, gather_facts: false, tasks: [{name: t, debug: {msg: '{{ inventory_hostname }}'}}]}",
        inventory=json.dumps({"all": {"hosts": dict.fromkeys(hosts)}}),
    )
    assert counted == [250]
    assert [event.host for event in ran.of(Kind.RESULT)] == hosts
    assert [event.data["result"]["msg"] for event in ran.of(Kind.RESULT)] == hosts


def test_an_interrupt_ends_a_batch_after_the_host_at_work(play):
    play.write(
        "tasks/counted.py",
        "import os, signal\nfrom dataclasses import dataclass\nfrom labctl.task_types import Args\n"
        "ON_CONTROLLER = COMPUTES = True\n@dataclass(kw_only=True)\nclass Arguments(Args):\n    pass\n"
        "def run(args, ctx):\n"
        "    if ctx.variables['inventory_hostname'] == 'b':\n        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return {}\n",
    )
    ran = play(
        "- {hosts: all, gather_facts: false, tasks: [{name: t, counted: }, {name: never, counted: }]}",
        hosts="a,b,c",
    )
    assert ran.result.exit_code == 130
    assert ran.log == "t a ok\nt b ok"
    done = [json.loads(line) for line in (ran.result.run_dir / "resume.jsonl").read_text().splitlines()]
    assert [line["host"] for line in done] == ["a", "b"]
