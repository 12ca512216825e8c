"""`async`: jobs on this machine, through a real agent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import labctl.node
from labctl import jobs
from labctl.engine.interrupt import Stop
from labctl.events import Kind
from labctl.node.client import AgentNode
from labctl.node.functions import jobs as functions
from labctl.ssh import Connections
from tests.processes import gone

HEAD = """\
- hosts: all
  gather_facts: false
  tasks:
"""

SLEEPING = "- {{name: start, shell: 'echo $$ > {0}/pid; sleep 60', async: 60, poll: {poll}}}"


@pytest.fixture
def here(play, tmp_path):
    """Runs tasks on this machine, with job files below `tmp_path/jobs`."""
    variables = f"{{ansible_connection: local, ansible_async_dir: {tmp_path / 'jobs'}}}"

    def run(text: str, **options):
        play.connections = Connections()
        body = "".join(f"    {line}\n" for line in text.strip("\n").splitlines())
        return play(HEAD + body, inventory=f"all: {{hosts: {{localhost: {variables}}}}}", **options)

    return run


def test_command_goes_on_while_the_play_does_and_tells_how_it_ended(here, tmp_path):
    ran = here(f"""
- {{name: start, shell: "until test -e {tmp_path}/go; do sleep 0.01; done; echo done", async: 20, poll: 0, register: job}}
- {{name: look, async_status: {{jid: "{{{{ job.ansible_job_id }}}}"}}}}
- {{name: let it end, file: {{path: "{tmp_path}/go", state: touch}}}}
- {{name: wait, async_status: {{jid: "{{{{ job.ansible_job_id }}}}"}}, register: r, until: r.finished, delay: 0.05, retries: 200}}
- {{name: forget, async_status: {{jid: "{{{{ job.ansible_job_id }}}}", mode: cleanup}}}}
""")
    host = "localhost"
    started, look, end = (ran.value(name, host) for name in ("start", "look", "wait"))
    assert (started["started"], started["finished"], started["changed"]) == (True, False, True)
    assert look["finished"] is False
    assert (end["finished"], end["stdout"], end["rc"], end["stdout_lines"]) == (True, "done", 0, ["done"])
    assert ran.value("forget", host)["erased"] == started["results_file"]
    assert os.listdir(tmp_path / "jobs") == []


def test_command_outlives_the_run_and_a_later_one_finds_its_end(here, tmp_path):
    first = here(f"""
- {{name: start, shell: "until test -e {tmp_path}/go; do sleep 0.01; done; echo later", async: 20, poll: 0}}
""")
    jid = first.value("start", "localhost")["ansible_job_id"]
    (tmp_path / "go").touch()
    second = here(f"""
- {{name: wait, async_status: {{jid: {jid}}}, register: r, until: r is finished, delay: 0.05, retries: 200}}
""")
    assert second.value("wait", "localhost")["stdout"] == "later"


def test_limit_kills_the_command_and_all_of_its_group(here, tmp_path):
    ran = here(f"""
- {{name: start, shell: "sleep 60 & echo $! > {tmp_path}/pid; sleep 60", async: 1, poll: 0.2}}
""")
    value = ran.value("start", "localhost")
    assert (value["failed"], value["msg"]) == (True, "Timeout exceeded")
    assert gone([int((tmp_path / "pid").read_text())])


def test_polled_command_shows_its_output_as_it_comes_and_returns_its_own_result(here, tmp_path):
    ran = here("""
- {name: start, shell: "echo early; sleep 0.5; echo late; exit 3", async: 20, poll: 0.1, ignore_errors: true}
""")
    value = ran.value("start", "localhost")
    assert (value["rc"], value["stdout"], value["finished"]) == (3, "early\nlate", True)
    shown = "".join(event.data["text"] for event in ran.of(Kind.OUTPUT))
    assert shown.startswith("early\n")
    assert os.listdir(tmp_path / "jobs") == []


def test_other_task_types_go_on_in_the_run_which_waits_for_them(here, tmp_path):
    ran = here(f"""
- {{name: start, wait_for: {{path: "{tmp_path}/go", timeout: 20}}, async: 20, poll: 0, register: job}}
- {{name: look, async_status: {{jid: "{{{{ job.ansible_job_id }}}}"}}}}
- {{name: let it end, file: {{path: "{tmp_path}/go", state: touch}}}}
- {{name: copy, copy: {{content: text, dest: "{tmp_path}/copied"}}, async: 20, poll: 0}}
""")
    assert ran.value("look", "localhost")["finished"] is False
    assert (tmp_path / "copied").read_text() == "text"
    job = ran.value("start", "localhost")["ansible_job_id"]
    assert json.loads((tmp_path / "jobs" / job).read_text())["failed"] is False


def test_limit_ends_other_task_types_too(here, tmp_path):
    ran = here(f"""
- {{name: start, wait_for: {{path: "{tmp_path}/never", timeout: 60}}, async: 1, poll: 0.1}}
""")
    value = ran.value("start", "localhost")
    assert (value["failed"], value["msg"], value["finished"]) == (True, "Timeout exceeded", True)


def test_what_needs_no_host_cannot_go_on_there(here):
    ran = here("- {name: start, debug: {msg: x}, async: 5, poll: 0, ignore_errors: true}")
    assert "no async" in ran.value("start", "localhost")["msg"]


def test_dry_run_starts_nothing_and_says_what_it_cannot_know(here, tmp_path):
    ran = here(
        f"""
- {{name: start, command: "touch {tmp_path}/made", async: 5, poll: 0, register: job}}
- {{name: wait, async_status: {{jid: "{{{{ job.ansible_job_id }}}}"}}, register: r, until: r.finished}}
- {{name: other, async_status: {{jid: j1.1}}}}
""",
        check=True,
    )
    assert [status for _task, _host, status in ran.results] == ["unknown", "unknown", "unknown"]
    assert not (tmp_path / "made").exists()


def test_arguments_and_environment_are_in_no_process_list(here, tmp_path):
    here(f"""
- name: start
  shell: 'tr "\\0" " " < /proc/$PPID/cmdline > {tmp_path}/watcher'
  environment: {{TOKEN: s3cret}}
  async: 20
  poll: 0.1
""")
    said = (tmp_path / "watcher").read_text()
    assert "python" in said
    assert "s3cret" not in said
    assert "cmdline" not in said


def test_interrupt_ends_what_is_waited_for(here, tmp_path):
    stop = Stop()

    def interrupt() -> None:
        until = time.monotonic() + 10
        while not (tmp_path / "pid").exists() and time.monotonic() < until:
            time.sleep(0.01)
        stop.ask("enough")

    threading.Thread(target=interrupt, daemon=True).start()
    ran = here(SLEEPING.format(tmp_path, poll=1), stop=stop)
    assert ran.result.exit_code == 130
    assert gone([int((tmp_path / "pid").read_text())])


@pytest.mark.parametrize("poll", [0, 1])
def test_interrupt_ends_what_has_begun_though_its_answer_is_lost(here, tmp_path, monkeypatch, poll):
    stop, call = Stop(), AgentNode.call

    def lose(node, module, function, /, **arguments):
        answer = call(node, module, function, **arguments)
        if function == "start":
            stop.ask("enough")
            node.run(["sleep", "60"])  # until the interrupt drops the connection
        return answer

    monkeypatch.setattr(AgentNode, "call", lose)
    ran = here(SLEEPING.format(tmp_path, poll=poll), stop=stop)
    assert ran.result.exit_code == 130
    pid = tmp_path / "pid"
    assert not pid.exists() or gone([int(pid.read_text())])  # it may not have come to its first word


def test_job_that_was_given_up_does_not_begin(tmp_path):
    path = functions.create(str(tmp_path), "j1")
    job = {"path": path, "argv": ["touch", f"{tmp_path}/made"], "cwd": "/", "stdin": "", "limit": 5}
    functions.end(str(tmp_path), "j1")
    program = Path(labctl.node.__file__).with_name("agent_watcher.py")
    done = subprocess.run(
        [sys.executable, program], input=json.dumps(job), capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("values", "finished", "failed"),
    [
        ({"started": True, "finished": False, "ansible_job_id": "j"}, False, None),
        ({"started": 1, "finished": 0, "ansible_job_id": "j"}, False, None),
        ({"rc": 0, "failed": False}, True, False),
        (None, False, None),
    ],
)
def test_job_file_tells_how_a_job_stands(values, finished, failed):
    found = jobs.values({"found": True, "path": "/x/j", "values": values}, "j")
    assert (found["finished"], found.get("failed"), found["started"]) == (finished, failed, True)
