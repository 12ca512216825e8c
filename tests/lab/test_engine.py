"""Whole runs on real nodes: recap, idempotence, dry run, and nodes that fall silent under a run."""

from __future__ import annotations

import json
import textwrap
import threading
from pathlib import Path

import pytest

from tests.waiting import eventually


@pytest.fixture
def run(labctl, inventory_file, tmp_path):
    """`run(text, *options)`: a playbook's text through the command line, in a folder of its own."""

    def call(text: str, *options: object):
        (tmp_path / "site.yml").write_text(textwrap.dedent(text))
        return labctl("run", "site.yml", "-i", inventory_file, *options, cwd=tmp_path)

    return call


def recap(done) -> dict[str, dict[str, int]]:
    lines = done.stdout.split("PLAY RECAP")[1].splitlines()[1:]
    rows = [line.split(" : ") for line in lines if " : " in line]
    return {
        name.strip(): {k: int(n) for k, n in (cell.split("=") for cell in cells.split())}
        for name, cells in rows
    }


FILES = """
    - hosts: all
      tasks:
        - name: Write a file
          copy: {content: "{{ inventory_hostname }} {{ ansible_facts.kernel }}\\n", dest: /root/engine-test, mode: "0640"}
          notify: say so
        - name: Read it back
          command: cat /root/engine-test
          register: text
          changed_when: false
        - name: It is ours
          assert: {that: "inventory_hostname in text.stdout"}
      handlers:
        - name: say so
          debug: {msg: "written on {{ inventory_hostname }}"}
    """


@pytest.fixture
def clean(node):
    yield
    for name in ("master", "worker1", "worker2"):
        node(name).remove("/root/engine-test")


def test_second_run_changes_nothing(run, clean, node):
    first, second = run(FILES), run(FILES)
    assert first.returncode == second.returncode == 0, first.stdout + first.stderr
    for name in ("master", "worker1", "worker2"):
        assert recap(first)[name]["changed"] == 1
        assert recap(second)[name]["changed"] == 0
        assert node(name).read("/root/engine-test").startswith(name.encode())
    assert first.stdout.count("written on") == 3
    assert "written on" not in second.stdout


def test_dry_run_says_what_would_change_and_changes_nothing(run, clean, node):
    done = run(FILES, "--dry-run", "--diff")
    assert done.returncode == 3, done.stdout + done.stderr
    assert recap(done)["worker1"]["changed"] == 1
    assert recap(done)["worker1"]["unknown"] == 2
    assert "+worker1" in done.stdout
    assert node("worker1").stat("/root/engine-test") is None


def test_run_folder_holds_facts_logs_and_events(run, tmp_path):
    done = run("""
        - hosts: workers
          tasks: [{name: speak, shell: "echo out of $HOSTNAME; echo err >&2"}]
        """)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = (tmp_path / "runs" / "latest").resolve()
    assert json.loads((folder / "facts" / "worker1.json").read_text())["cgroup"]
    assert "err" in (folder / "logs" / "worker2.log").read_text()
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "run_start"
    assert events[-1]["event"] == "run_end"
    assert events[-1]["data"]["exit_code"] == 0
    assert "run folder: runs/" in done.stdout


def test_become_environment_and_delegation(run):
    done = run("""
        - hosts: worker1
          gather_facts: false
          tasks:
            - {command: id -un, become: true, become_user: nobody, register: who, changed_when: false}
            - {shell: echo $GREETING, environment: {GREETING: hello}, register: said, changed_when: false}
            - {command: hostname, delegate_to: worker2, register: where, changed_when: false}
            - {assert: {that: [who.stdout == 'nobody', said.stdout == 'hello', where.stdout == 'worker2']}}
        """)
    assert done.returncode == 0, done.stdout + done.stderr


def test_frozen_node_becomes_unreachable_and_the_others_go_on(run, lab):
    try:
        lab.freeze("worker2")
        done = run(
            """
            - hosts: workers
              gather_facts: false
              tasks: [{command: uptime}, {command: hostname}]
            """,
            "-T",
            "5",
        )
    finally:
        lab.thaw("worker2")
    assert done.returncode == 4, done.stdout + done.stderr
    assert recap(done)["worker1"]["ok"] == 2
    assert recap(done)["worker2"]["unreachable"] == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_node_that_falls_silent_during_a_task_does_not_hold_the_run(
    labctl, inventory_file, lab, node, tmp_path
):
    (tmp_path / "site.yml").write_text(
        textwrap.dedent("""
        - hosts: workers
          gather_facts: false
          tasks:
            - {name: wait for it, shell: "touch /run/engine-reached; sleep 3"}
            - {name: after, command: hostname}
        """)
    )
    for name in ("worker1", "worker2"):
        node(name).remove("/run/engine-reached")
    ended = []
    thread = threading.Thread(
        target=lambda: ended.append(labctl("run", "site.yml", "-i", inventory_file, cwd=tmp_path))
    )
    thread.start()
    try:
        eventually(
            lambda: node("worker2").stat("/run/engine-reached") is not None, 60, "the task never began"
        )
        lab.freeze("worker2")
        thread.join(150)
    finally:
        lab.thaw("worker2")
        thread.join(150)
    done = ended[0]
    assert done.returncode == 4, done.stdout + done.stderr
    assert recap(done)["worker1"]["ok"] == 2
    assert recap(done)["worker2"]["unreachable"] == 1


def test_json_output_is_one_event_a_line(run):
    done = run("- {hosts: worker1, gather_facts: false, tasks: [{command: hostname}]}", "--output", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [e["data"]["result"]["stdout"] for e in events if e["event"] == "result"] == ["worker1"]


def test_ping_exec_and_facts(labctl, inventory_file, tmp_path):
    pong = labctl("ping", "workers", "-i", inventory_file, cwd=tmp_path)
    assert pong.returncode == 0
    assert pong.stdout.count(" ok ") == 2
    said = labctl("exec", "-i", inventory_file, "worker1", "shell", "echo $((6*7)); exit 3", cwd=tmp_path)
    assert said.returncode == 2
    assert "worker1 | failed | rc=3" in said.stdout
    assert "\n42\n" in said.stdout
    facts = labctl("facts", "master", "-i", inventory_file, "--json", "--filter", "kernel", cwd=tmp_path)
    assert list(json.loads(facts.stdout)["master"]) == ["kernel"]
    assert not Path(tmp_path, "runs").exists()
