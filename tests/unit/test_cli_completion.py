"""Completion: what a real bash offers, and that every option of every command is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from labctl.cli.completion import SHELLS, described
from labctl.cli.main import COMMANDS, main

BASH = shutil.which("bash") or ""


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "labctl.bash"
    path.write_text(SHELLS["bash"](list(described()), ["command", "copy", "debug"]))
    return path


@pytest.fixture
def offered(script, tmp_path):
    """What bash offers after these words, the last of them begun only."""

    def ask(*words: str) -> list[str]:
        program = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _labctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(
            [BASH, "--norc", "-c", program, "bash", "labctl", *words],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        )
        assert not done.stderr
        return done.stdout.split()

    return ask


def test_commands_and_options(offered):
    assert set(COMMANDS) < set(offered(""))
    assert offered("ru") == ["run", "runs"]
    assert offered("run", "--start") == ["--start-at-task"]
    assert "--check" in offered("run", "x.yml", "--")
    assert offered("lab", "s") == ["status", "ssh"]


def test_values_of_options(offered):
    assert offered("run", "--output", "j") == ["json", "junit"]
    assert offered("run", "--output", "=", "d") == ["dense"]
    assert offered("exec", "all", "-m", "co") == ["command", "copy"]
    assert offered("exec", "all", "deb") == ["debug"]
    assert offered("doc", "cop") == ["copy"]
    assert offered("run", "--forks", "") == []


def test_files_and_runs(offered, tmp_path):
    (tmp_path / "site.yml").write_text("")
    (tmp_path / "vars.yml").write_text("")
    (tmp_path / "runs/20260101-000000-site").mkdir(parents=True)
    assert offered("run", "si") == ["site.yml"]
    assert offered("run", "-e", "@va") == ["@vars.yml"]
    assert offered("run", "--resume", "2") == ["20260101-000000-site"]
    assert "last" in offered("run", "--resume", "")


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_every_command_and_long_option_is_in_each_script(shell, capsys):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for command in described():
        assert command.name in text
        for option in command.options:
            long = next((name[2:] for name in option.names if name.startswith("--")), option.names[0][1:])
            assert long in text
    program = shutil.which(shell)
    if program is not None:
        checked = subprocess.run([program, "-n"], input=text, text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")
