"""The command line: what it refuses, with which message and exit code, and what it prints."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labctl.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
GOOD = "- hosts: localhost\n  gather_facts: false\n  tasks: [{debug: {msg: 'hello {{ who }}'}, tags: [t]}]\n"


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """`cli("run", …)` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABCTL_INVENTORY", raising=False)

    def call(*arguments: str):
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def playbook(text: str) -> str:
    Path("site.yml").write_text(text)
    return "site.yml"


def test_good_run(cli):
    code, out, _err = cli("run", playbook(GOOD), "-i", "localhost,", "-e", "who=you")
    assert code == 0
    assert "    hello you" in out
    assert "localhost                : ok=1 " in out
    assert "run folder: runs/" in out


TASK = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - "


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("- hosts: [a\n", 6, ["site.yml:2:1", "not valid YAML"]),
        ("- hosts: all\n  taskz: []\n", 6, ["site.yml:2:3", "taskz", "did you mean 'tasks'?"]),
        (TASK + "debg: {msg: x}\n", 6, ["site.yml:4:7", "unknown task type 'debg'", "did you mean 'debug'?"]),
        (TASK + "debug: {mgs: x}\n", 6, ["site.yml:4:15", "no argument 'mgs'", "did you mean 'msg'?"]),
        (TASK + "debug: {verbosity: lots}\n", 6, ["site.yml:4:26", "must be an integer", "'lots'"]),
        (TASK + "debug: {msg: '{{ nowhere }}'}\n", 8, ["site.yml:4:2", "'nowhere' is undefined"]),
        (TASK + "debug: {msg: '{{ inventory_hostnam }}'}\n", 8, ["did you mean 'inventory_hostname'?"]),
        (TASK + "debug: {var: inventory_hostnam}\n", 0, ["did you mean 'inventory_hostname'?"]),
        (
            TASK + "debug: {msg: '{{ hostvars.localhost.inventory_hostnam }}'}\n",
            8,
            ["no attribute 'inventory_hostnam'", "did you mean 'inventory_hostname'?"],
        ),
        (TASK + "debug: {msg: '{{ 1 + }}'}\n", 6, ["site.yml:4:20"]),
        ("- hosts: webs\n", 0, ["site.yml:1:10", "webs", "no hosts matched"]),
        ("[]\n", 6, ["site.yml:1:1", "no plays"]),
    ],
)
def test_bad_playbook_is_one_message_with_its_position(cli, text, code, said):
    found, out, err = cli("run", playbook(text), "-i", "localhost,")
    assert found == code, out + err
    for piece in said:
        assert piece in out + err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rum"], 5, "did you mean 'run'?"),
        (["run"], 5, "which playbook?"),
        (["run", "site.yml", "--cheque"], 5, "--cheque"),
        (["run", "site.yml", "-i", "nowhere.yml"], 7, "nowhere.yml"),
        (["run", "syte.yml", "-i", "localhost,"], 6, "did you mean 'site.yml'?"),
        (["run", "site.yml", "-i", "localhost,", "-l", "lokalhost"], 7, "lokalhost"),
        (["run", "site.yml", "-i", "localhost,", "-e", "what"], 5, "what"),
        (["run", "site.yml", "-i", "localhost,", "-f", "0"], 5, "'0' is not a number from 1 up"),
        (["exec", "localhost", "shel", "x", "-i", "localhost,"], 6, "did you mean 'shell'?"),
        (["exec", "localhost", "debug", "mgs=x", "-i", "localhost,"], 6, "did you mean 'msg'?"),
        (["exec", "nobody", "debug", "-i", "localhost,"], 7, "nobody"),
        (["doc", "shel"], 6, "did you mean 'shell'?"),
        ([], 5, ""),
    ],
)
def test_bad_command_line(cli, arguments, code, said):
    playbook(GOOD)
    found, out, err = cli(*arguments)
    assert found == code, out + err
    assert said in err


def test_several_problems_are_all_named(cli):
    _code, _out, err = cli("run", playbook(TASK + "debug: {mgs: x}\n    - copi: {}\n"), "-i", "localhost,")
    assert "site.yml:4:15" in err
    assert "site.yml:5:7" in err


def test_syntax_check_and_lists_touch_nothing(cli):
    book = playbook(GOOD)
    assert cli("run", book, "-i", "localhost,", "--syntax-check")[0] == 0
    assert "localhost" in cli("run", book, "-i", "localhost,", "--list-hosts")[1]
    assert "debug\tTAGS: [t]" in cli("run", book, "-i", "localhost,", "--list-tasks")[1]
    assert "debug" not in cli("run", book, "-i", "localhost,", "--list-tasks", "-t", "other")[1]
    assert "TAGS: [t]" in cli("run", book, "-i", "localhost,", "--list-tags")[1]
    assert not Path("runs").exists()


def test_fault_of_labctl_itself_is_one_line_and_a_file(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("LABCTL_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("labctl.cli.doc.run", lambda _args: {}["absent"])
    code, _out, err = cli("doc")
    assert code == 1
    assert "KeyError" in err
    (log,) = (tmp_path / "state" / "crashes").iterdir()
    assert str(log) in err
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_every_command_has_help(cli, capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert "usage: labctl" in capsys.readouterr().out


def test_doc_describes_arguments_from_the_schema(cli):
    page = cli("doc", "copy")[1]
    assert "dest" in page
    assert "required" in page
    assert json.loads(cli("doc", "copy", "--json")[1])["copy"]["arguments"]["dest"]["required"] is True
    assert "\nshell " in cli("doc", "--list")[1]


def test_runs_lists_what_was_run(cli):
    assert "no runs" in cli("runs")[1]
    cli("run", playbook(GOOD), "-i", "localhost,", "-e", "who=you")
    cli("run", playbook(GOOD), "-i", "localhost,")
    lines = cli("runs")[1].splitlines()
    assert [word for line in lines for word in line.split() if word in ("ok", "exit")] == ["ok", "exit"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from labctl.cli.main import build; build(['--help']);"
        "print([m for m in ('yaml', 'jinja2', 'paramiko', 'rich', 'structlog', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_task_types_beside_the_playbook_are_found(cli):
    Path("tasks").mkdir()
    Path("tasks/hello.py").write_text(
        '"""Say it."""\nfrom dataclasses import dataclass\nfrom labctl.task_types import Args\n\n'
        "@dataclass(kw_only=True)\nclass Arguments(Args):\n    pass\n\n"
        "def run(args, ctx):\n    return {'msg': 'from beside'}\n"
    )
    code, out, _err = cli("run", playbook(TASK + "hello: {}\n"), "-i", "localhost,", "-v")
    assert code == 0
    assert "from beside" in out


def test_json_output(cli):
    _code, out, _err = cli("run", playbook(GOOD), "-i", "localhost,", "-e", "who=you", "--output", "json")
    events = [json.loads(line) for line in out.splitlines()]
    assert events[0]["event"] == "run_start"
    assert events[0]["time"] <= time.time()
    assert events[-1]["data"]["exit_code"] == 0


def test_secrets_on_the_command_line_are_not_recorded(cli, monkeypatch):
    arguments = [
        "run",
        playbook(GOOD),
        "-i",
        "localhost,",
        "-e",
        "who=you db_password=hunter2",
        "-e",
        '{"token": "say hunter2", "other_pass": "a \\" hunter2"}',
        "-e",
        "who=you db_password='say hunter2'",
        "-e",
        "{db_password: say hunter2, more: 1}",
    ]
    monkeypatch.setattr("sys.argv", ["labctl", *arguments])
    assert cli(*arguments)[0] == 0
    assert "who=you" in Path("runs/latest/run.json").read_text()
    assert all("hunter2" not in path.read_text() for path in Path("runs/latest").glob("*.json*"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["run", "--lmit", "a", "site.yml"], "did you mean '--limit'?"),
        (["vault", "encrypt", "--vault-pasword-file=x", "f"], "did you mean '--vault-password-file'?"),
        (["run", "-o", "site.yml"], "labctl run --help"),
    ],
)
def test_a_misspelt_option_is_answered_with_the_nearest(words, hint, capsys):
    assert main(words) == 5
    assert f"hint: {hint}" in capsys.readouterr().err


def test_doc_describes_what_the_engine_does_itself(cli):
    from labctl.cli.doc_actions import ACTIONS
    from labctl.playbook.actions import ENGINE_ARGUMENTS, META_ACTIONS

    assert {name: set(arguments) for name, (_, arguments) in ACTIONS.items()} == {
        name: set(arguments) for name, arguments in ENGINE_ARGUMENTS.items()
    }
    assert all(action in ACTIONS["meta"][0] for action in META_ACTIONS)
    assert "  tasks_from\n" in cli("doc", "ansible.builtin.include_role")[1]
    assert "\nmeta " in cli("doc", "--list")[1]
    assert json.loads(cli("doc", "--json", "meta", "copy")[1])["meta"]["arguments"]["action"]["doc"]


LATER = """\
- hosts: all
  gather_facts: false
  tasks: [{copy: {content: x, dest: "{{ playbook_dir }}/touched"}}]
- {hosts: all, gather_facts: false, vars_files: more.yml, tasks: [{debug: {var: a}}]}
"""


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ("a: [1", 6, "more.yml:2:1: not valid YAML"),
        ("[1]", 6, "a file of variables must hold a mapping"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", 8, "more.yml:1:1: "),
    ],
)
def test_variables_of_a_later_play_are_read_before_anything_is_done(cli, content, code, message):
    Path("more.yml").write_text(content)
    found, _out, err = cli("run", playbook(LATER), "-i", "localhost,", "-c", "local")
    assert (found, message in err, Path("touched").exists()) == (code, True, False)


def test_syntax_check_needs_no_vault_password(cli):
    Path("more.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    assert cli("run", playbook(LATER), "-i", "localhost,", "--syntax-check")[0] == 0


def test_no_inventory_is_said(cli):
    code, out, err = cli("run", playbook(GOOD), "-e", "who=you")
    assert (code, "hello you" in out) == (0, True)
    assert "no inventory: -i names none, and there is no inventories/lab here" in err


def labctl(redirected: str) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.quote(sys.executable)} -P -m labctl {redirected}"
    return subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("redirected", ["doc --list >&-", "doc --list <&- >&- 2>&-"])
def test_streams_that_are_closed(redirected):
    ran = labctl(redirected)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("command", ["doc --list", "doc copy file template service user apt cron get_url"])
def test_output_that_nothing_takes_any_more(command):
    ran = labctl(f"{command} > /dev/full")
    assert (ran.returncode, ran.stderr) == (9, "ERROR: No space left on device\n")


def test_ping_asks_the_others_where_one_is_said_wrongly(cli):
    Path("hosts.ini").write_text("bad ansible_port=abc\ngood ansible_connection=local\n")
    code, out, _err = cli("ping", "all", "-i", "hosts.ini")
    bad, good = out.splitlines()
    assert (code, bad.split()[:2], good.split()[:2]) == (4, ["bad", "unreachable:"], ["good", "ok"])
    assert "ansible_port is 'abc'" in bad
    assert good.endswith("  local")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "docker"], "-c is 'docker'; labctl has 'ssh' and 'local'"),
        (["-e", "@nofile"], "-e '@nofile': No such file or directory"),
    ],
)
def test_what_the_command_line_says_wrongly_is_said_before_the_run(cli, arguments, message):
    code, _out, err = cli("run", playbook(GOOD), "-i", "localhost,", *arguments)
    assert (code, message in err) == (5, True)


def test_a_folder_is_no_playbook(cli):
    Path("plays").mkdir()
    assert cli("run", "plays", "-i", "localhost,")[2] == "ERROR: the playbook 'plays' is a folder\n"


def test_what_an_assertion_is_told_to_say_is_shown(cli):
    text = GOOD.replace("debug: {msg: 'hello {{ who }}'}", "assert: {that: 1 == 1, success_msg: all is well}")
    assert "\n    all is well\n" in cli("run", playbook(text), "-i", "localhost,")[1]
