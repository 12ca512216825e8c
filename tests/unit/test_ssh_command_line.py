"""Connection options of the command line and of ansible.cfg, as inventory variables would say them."""

import pytest

from labctl.cli import connection
from labctl.cli.main import build, main


@pytest.fixture
def variables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text("correct horse\n")

    def read(*words: str):
        argv = ["run", *words, "p.yml"]
        return connection.variables(build(argv).parse_args(argv))

    return read


def test_what_is_given(variables):
    assert variables() == {}
    assert variables("-c", "local", "--ssh-common-args=-J gate", "--ssh-extra-args=-o Port=1") == {
        "ansible_connection": "local",
        "ansible_ssh_common_args": "-J gate",
        "ansible_ssh_extra_args": "-o Port=1",
    }
    assert variables("--conn-pass-file", "password") == {"ansible_password": "correct horse"}


def test_what_the_configuration_says(variables, tmp_path):
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nremote_port = 2022\nhost_key_checking = False\n"
        "[ssh_connection]\nssh_args = -C\nssh_common_args = -J configured\n"
    )
    assert variables("--ssh-common-args=-J given") == {
        "ansible_port": 2022,
        "ansible_host_key_checking": False,
        "ansible_ssh_args": "-C",
        "ansible_ssh_common_args": "-J given",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sftp-extra-args=-v"], "neither sftp nor scp"),
        (["-k", "--connection-password-file", "password"], "not allowed with"),
        (["-k"], "this is no terminal"),
        (["--connection-password-file", "nowhere"], "connection password"),
    ],
)
def test_what_cannot_be(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yml").write_text("- {hosts: all, gather_facts: false}\n")
    assert main(["run", "-i", "a,", *words, "p.yml"]) == 5
    assert message in capsys.readouterr().err
