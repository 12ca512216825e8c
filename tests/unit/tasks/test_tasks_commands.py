"""command, shell, raw, script: values, conditions, dry run."""

import re

import pytest

from labctl.events import Status


def test_command_returns_what_ansible_returns(task):
    result = task("command", cmd="printf 'one two\\n\\n'")
    values = result.values
    assert result.status is Status.CHANGED
    assert (values["rc"], values["stdout"], values["stdout_lines"]) == (0, "one two", ["one two"])
    assert values["cmd"] == ["printf", "one two\\n\\n"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", values["start"])
    assert re.fullmatch(r"0:00:0\d(\.\d{6})?", values["delta"])
    assert task.trips == 1


def test_command_has_no_shell_but_expands_variables(task):
    task.environment = {"COLOUR": "red"}
    assert task("command", argv=["echo", "a;b", "*", "$COLOUR", "${COLOUR}s", "$NOT_SET_HERE"]).values[
        "stdout"
    ] == ("a;b * red reds $NOT_SET_HERE")
    assert task("command", cmd="echo $COLOUR", expand_argument_vars=False).values["stdout"] == "$COLOUR"


def test_command_failure_keeps_its_values(task):
    result = task("shell", cmd="echo out; echo err >&2; exit 3")
    assert result.status is Status.FAILED
    assert (result.values["rc"], result.values["stdout"], result.values["stderr"]) == (3, "out", "err")
    assert result.values["msg"] == "non-zero return code"
    assert result.changed


def test_command_that_a_signal_killed(task):
    result = task("shell", cmd="kill -TERM $$")
    assert (result.status, result.values["rc"]) == (Status.FAILED, -15)
    assert result.values["msg"] == "killed by signal 15"


def test_command_that_does_not_exist(task):
    result = task("command", cmd="/no/such/program")
    assert result.status is Status.FAILED
    assert "/no/such/program" in result.values["msg"]


def test_stdin_and_chdir(task, tmp_path):
    assert task("command", cmd="cat", stdin="text").values["stdout"] == "text"
    assert task("command", cmd="pwd", chdir=str(tmp_path)).values["stdout"] == str(tmp_path)


def test_output_is_shown_as_it_comes(task):
    task("shell", cmd="echo first; echo second")
    assert "".join(task.ctx.said) == "first\nsecond\n"


@pytest.mark.parametrize("name", ["command", "shell"])
def test_creates_and_removes(task, tmp_path, name):
    (tmp_path / "there").touch()
    for given in (
        {"creates": str(tmp_path / "th*")},
        {"creates": "there", "chdir": str(tmp_path)},
        {"removes": str(tmp_path / "gone")},
    ):
        for check in (False, True):
            result = task(name, cmd="touch ran", check=check, **given)
            assert result.status is Status.OK, given
            assert task.trips == 1
            assert result.values["rc"] == 0
            assert "exist" in result.values["stdout"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["command", "shell", "raw"])
def test_dry_run_does_not_run_it_and_says_unknown(task, tmp_path, name):
    result = task(name, cmd=f"touch {tmp_path}/ran", check=True)
    assert result.status is Status.UNKNOWN
    assert "not run in a dry run" in result.unknown
    assert not (tmp_path / "ran").exists()


def test_unbalanced_quotes_are_one_clear_message(task):
    result = task("command", cmd="echo 'oops")
    assert result.status is Status.FAILED
    assert "cannot be split" in result.values["msg"]


def test_raw_runs_through_the_shell_channel(task):
    result = task("raw", cmd="echo $0; exit 4")
    assert (result.values["rc"], result.values["stdout"]) == (4, "/bin/sh\n")
    assert task("raw", cmd="echo $BASH_VERSION", executable="/bin/bash").values["stdout"].strip()


@pytest.fixture
def script(task, tmp_path):
    folder = task.folder / "files"
    folder.mkdir()
    (folder / "hello.sh").write_text('#!/bin/sh\necho "$# $1 $(pwd)"; echo "$0" >&2; exit ${2:-0}\n')
    return task


def test_script_runs_with_arguments_and_is_removed(script, tmp_path):
    result = script("script", cmd="hello.sh 'a b' 5", chdir=str(tmp_path))
    assert (result.values["rc"], result.values["stdout"]) == (5, f"2 a b {tmp_path}")
    name = result.values["stderr"]
    assert name.startswith("/tmp/labctl-script.")
    assert task_is_gone(name)
    assert script.trips == 1


def task_is_gone(path):
    import os

    return not os.path.exists(path)


def test_script_with_a_quote_that_is_not_closed(script):
    result = script("script", cmd="hello.sh 'a b")
    assert result.status is Status.FAILED
    assert "cannot be split: no closing quotation" in result.values["msg"]


def test_script_creates_removes_executable(script, tmp_path):
    (tmp_path / "there it is").touch()
    assert script("script", cmd="hello.sh", creates=f"{tmp_path}/there *").status is Status.OK
    assert script("script", cmd="hello.sh", creates=f"{tmp_path}/gone").status is Status.CHANGED
    assert script("script", cmd="hello.sh", removes=f"{tmp_path}/gone*").status is Status.OK
    assert script("script", cmd="hello.sh", removes=f"{tmp_path}/there it is").status is Status.CHANGED
    (script.folder / "files" / "plain.py").write_text("import sys; print(sys.argv[1:])")
    assert script("script", cmd="plain.py x", executable="python3").values["stdout"] == "['x']"
