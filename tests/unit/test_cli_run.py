"""`labctl run` and `labctl exec`: the flags an Ansible user knows."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from labctl.cli.main import main

BOOK = """\
- name: first play
  hosts: all
  gather_facts: false
  tags: [p]
  tasks:
    - {name: one, debug: {msg: hi}, tags: [a]}
    - block: [{name: inside, command: echo hi}]
      tags: [b]
- hosts: one
  gather_facts: false
  tasks: [{name: last, ping: , tags: [never, dbg]}, {name: fin, ping: }]
"""
HOSTS = "[all:vars]\nansible_connection=local\n[web]\none\ntwo\n"


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """`cli("run", …)` in a folder with site.yml and hosts: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABCTL_INVENTORY", raising=False)
    Path("site.yml").write_text(BOOK)
    Path("hosts").write_text(HOSTS)

    def call(*arguments: str):
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def test_lists_read_as_ansible_s(cli):
    assert cli("run", "site.yml", "-i", "hosts", "--list-tasks", "--list-hosts", "--list-tags")[1] == (
        "\nplaybook: site.yml\n"
        "\n  play #1 (all): first play\tTAGS: [p]\n    pattern: ['all']\n    hosts (2):\n      one\n      two\n"
        "    tasks:\n      one\tTAGS: [a, p]\n      inside\tTAGS: [b, p]\n      TASK TAGS: [a, b, p]\n"
        "\n  play #2 (one): one\tTAGS: []\n    pattern: ['one']\n    hosts (1):\n      one\n"
        "    tasks:\n      last\tTAGS: [dbg, never]\n      fin\tTAGS: []\n      TASK TAGS: [dbg, never]\n"
    )
    assert cli("run", "site.yml", "-i", "hosts", "--syntax-check")[1] == "\nplaybook: site.yml\n"
    assert "inside" not in cli("run", "site.yml", "-i", "hosts", "--list-tasks", "-t", "a")[1]


def test_several_playbooks_run_one_after_the_other(cli):
    Path("more.yml").write_text("- {hosts: one, gather_facts: false, tasks: [{name: more, ping: }]}\n")
    code, out, _err = cli("run", "site.yml", "more.yml", "-i", "hosts", "-l", "one", "--output", "yaml")
    assert code == 0
    tasks = [entry["task"] for entry in yaml.safe_load(out) if "task" in entry]
    assert tasks == ["one", "inside", "fin", "more"]


def test_unknown_start_is_refused_with_the_nearest_name(cli):
    code, _out, err = cli("run", "site.yml", "-i", "hosts", "--start-at-task", "insde")
    assert (code, "did you mean 'inside'?" in err) == (5, True)
    assert not Path("runs").exists()
    out = cli("run", "site.yml", "-i", "hosts", "--start-at-task", "ins*", "--output", "json")[1]
    results = [json.loads(line) for line in out.splitlines() if '"result"' in line]
    assert [e["task"] for e in results if e["event"] == "result"] == ["inside", "inside", "fin"]


def test_step_needs_a_terminal(cli):
    code, _out, err = cli("run", "site.yml", "-i", "hosts", "--step")
    assert (code, "no terminal" in err) == (5, True)


def test_further_folders_of_task_types(cli):
    Path("extra").mkdir()
    Path("extra/hello.py").write_text(
        '"""Say it."""\nfrom dataclasses import dataclass\nfrom labctl.task_types import Args\n\n'
        "@dataclass(kw_only=True)\nclass Arguments(Args):\n    pass\n\n"
        "def run(args, ctx):\n    return {'msg': 'from extra'}\n"
    )
    Path("h.yml").write_text("- {hosts: one, gather_facts: false, tasks: [{hello: }]}\n")
    assert cli("run", "h.yml", "-i", "hosts")[0] == 6
    assert cli("run", "h.yml", "-i", "hosts", "-M", "extra")[0] == 0
    code, _out, err = cli("run", "h.yml", "-i", "hosts", "-M", "extra:nowhere")
    assert (code, "there is no folder nowhere" in err) == (5, True)


def test_junit_goes_to_stdout_or_to_a_file(cli):
    out = cli("run", "site.yml", "-i", "hosts", "--output", "junit")[1]
    assert ET.fromstring(out).get("tests") == "5"
    out = cli("run", "site.yml", "-i", "hosts", "--junit-xml", "report.xml")[1]
    assert "PLAY RECAP" in out
    assert ET.fromstring(Path("report.xml").read_text()).get("tests") == "5"


def test_dry_run_says_by_its_exit_code_whether_something_would_change(cli):
    text = "- hosts: one\n  gather_facts: false\n  tasks: [{copy: {content: x, dest: '%s'}}]\n"
    Path("c.yml").write_text(text % Path("made").absolute())
    argv = ("run", "c.yml", "-i", "hosts")
    assert cli(*argv, "--check")[0] == 3
    assert cli(*argv)[0] == 0
    assert cli(*argv, "--check")[0] == 0
    Path("c.yml").write_text("- {hosts: one, gather_facts: false, tasks: [{command: 'true'}]}\n")
    assert cli(*argv, "--check")[0] == 3
    Path("c.yml").write_text("- {hosts: one, gather_facts: false, tasks: [{command: 'true'}, {fail: }]}\n")
    assert cli(*argv, "--check")[0] == 2


def test_resume_takes_playbook_and_inventory_from_the_run(cli):
    Path("r.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - {name: once, shell: 'echo {{ inventory_hostname }} >> log'}\n    - {name: stop, command: test -e flag}\n"
    )
    assert cli("run", "r.yml", "-i", "hosts", "-l", "two")[0] == 2
    assert "--resume" in cli("runs")[1]
    Path("flag").touch()
    code, out, _err = cli("run", "--resume", "last")
    assert (code, Path("log").read_text()) == (0, "two\n")
    assert "two has done 1 task" in out
    assert "TASK [once]" not in out
    code, _out, err = cli("run", "--resume", "last")
    assert (code, "ended well" in err) == (5, True)


@pytest.mark.parametrize(
    ("words", "warned"),
    [
        (["-t", "dgb"], "--tags: no task has the tag 'dgb'; did you mean 'dbg'?"),
        (["--skip-tags", "nothing"], "--skip-tags: no task has the tag 'nothing'"),
        (["-t", "a,b,p,dbg,tagged", "--skip-tags", "untagged"], None),
    ],
)
def test_a_tag_that_no_task_has_is_warned_of(cli, words, warned):
    _code, out, err = cli("run", "site.yml", "-i", "hosts", "--syntax-check", *words)
    assert (warned or "") in out + err
    assert ("no task has the tag" in out + err) is (warned is not None)


def test_tags_of_includes_that_only_a_run_knows_are_not_doubted(cli):
    Path("i.yml").write_text("- hosts: all\n  tasks:\n    - include_tasks: '{{ inventory_hostname }}.yml'\n")
    _code, out, err = cli("run", "i.yml", "-i", "hosts", "--syntax-check", "-t", "x")
    assert "no task has the tag" not in out + err


@pytest.mark.parametrize(
    ("limit", "message"),
    [("tow", "--limit: no host or group is called 'tow'"), ("two:!two", "--limit 'two:!two' leaves no host")],
)
def test_a_limit_that_leaves_no_host_is_an_error_as_in_ansible(cli, limit, message):
    code, _out, err = cli("run", "site.yml", "-i", "hosts", "-l", limit)
    assert (code, err.startswith(f"ERROR: {message}")) == (7, True)


def test_resume_keeps_the_task_that_the_run_started_at(cli):
    Path("r.yml").write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - {name: never, shell: echo never >> log}\n    - {name: stop, command: test -e flag}\n"
    )
    assert cli("run", "r.yml", "-i", "hosts", "-l", "two", "--start-at-task", "stop")[0] == 2
    Path("flag").touch()
    assert cli("run", "--resume", "last")[0] == 0
    assert not Path("log").exists()


def test_resume_is_of_the_same_playbook(cli):
    Path("r.yml").write_text("- {hosts: one, gather_facts: false, tasks: [{fail: }]}\n")
    cli("run", "r.yml", "-i", "hosts")
    code, _out, err = cli("run", "site.yml", "--resume", "last")
    assert (code, "was a run of r.yml" in err) == (5, True)


def test_exec_takes_the_flags_of_ad_hoc_commands(cli):
    code, out, _err = cli("exec", "all", "-i", "hosts", "-a", "echo hi", "-o", "--tree", "tree")
    assert code == 0
    assert sorted(line.split(" | ")[0] for line in out.splitlines()) == ["one", "two"]
    assert all(line.endswith("(stdout) hi") for line in out.splitlines())
    assert json.loads(Path("tree/one").read_text())["stdout"] == "hi"
    assert "a b" in cli("exec", "one", "-i", "hosts", "-m", "debug", "-a", '{"msg": "a b"}')[1]
    assert cli("exec", "all", "-i", "hosts", "--list-hosts")[1] == "  hosts (2):\n    one\n    two\n"
    assert cli("exec", "one", "-i", "hosts", "-m", "command", "-a", "echo x", "-B", "20", "-P", "1")[0] == 0
    assert cli("exec", "one", "-i", "hosts", "-a", "sleep 20", "--task-timeout", "1")[0] == 2
    assert cli("exec", "one", "-i", "hosts", "-P", "1", "ping")[0] == 5
    assert cli("exec", "one", "-i", "hosts")[0] == 5


def test_exec_speaks_of_no_place_in_a_text_nobody_has_written(cli):
    for words in (("shel", "x"), ("debug", "mgs=x"), ("shell",)):
        code, _out, err = cli("exec", "one", "-i", "hosts", *words)
        assert (code, "command line" in err) == (6, False)
    assert "required: PATTERN\n" in cli("exec", "-m", "ping")[2]


def test_exec_leaves_only_what_the_task_itself_has_written(cli, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for words, code in ((("command", "false"), 2), (("setup",), 0), (("command", "echo x"), 0)):
        found, _out, err = cli("exec", "one", "-i", "hosts", *words)
        assert (found, list(tmp_path.glob("labctl-*")), "kept" in err) == (code, [], False)
    Path("tasks").mkdir()
    Path("tasks/breaks.py").write_text(
        '"""Break."""\nfrom labctl.task_types import Args as Arguments\n\n\ndef run(args, ctx):\n    return {}["x"]\n'
    )
    Path("tasks/keeps.py").write_text(
        '"""Keep."""\nfrom labctl.task_types import Args as Arguments\n\n\n'
        'def run(args, ctx):\n    (ctx.run_dir / "mine").write_text("x")\n    return {}\n'
    )
    for words, code, name in ((("breaks",), 2, "crash-breaks-one.txt"), (("keeps",), 0, "mine")):
        found, _out, err = cli("exec", "one", "-i", "hosts", *words)
        (kept,) = (line.removeprefix("kept: ") for line in err.splitlines() if line.startswith("kept: "))
        assert (found, Path(kept).name, Path(kept).is_file()) == (code, name, True)


def test_exec_beside_a_playbook(cli):
    Path("there/group_vars").mkdir(parents=True)
    Path("there/group_vars/web.yml").write_text("colour: green\n")
    argv = ("exec", "one", "-i", "hosts", "-m", "debug", "-a", "var=colour")
    assert "green" in cli(*argv, "--playbook-dir", "there")[1]
    assert cli(*argv, "--playbook-dir", "nowhere")[0] == 5


def test_options_may_stand_between_the_arguments(cli):
    assert cli("exec", "one", "-i", "hosts", "command", "echo a b", "-v")[0] == 0
    assert (
        cli("run", "site.yml", "-i", "hosts", "site.yml", "-l", "one", "--syntax-check")[1].count("site.yml")
        == 2
    )
    code, _out, err = cli("run", "site.yml", "-i", "hosts", "--nonsense")
    assert (code, "--nonsense" in err) == (5, True)
