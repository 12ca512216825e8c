"""Settings from ansible.cfg and ANSIBLE_* variables."""

import argparse
from pathlib import Path

import pytest

from labctl.cli import connection, passwords
from labctl.configuration import load
from labctl.errors import UsageError
from labctl.variables.plugins import Plugins


def test_the_environment_wins_over_the_file_beside_the_user(tmp_path: Path) -> None:
    text = "[defaults]\nforks = 7 ; few\nroles_path = more:/abs\nnocows = 1\n[privilege_escalation]\nbecome = True\n"
    (tmp_path / "ansible.cfg").write_text(text)
    found = load({"ANSIBLE_GATHERING": "smart"}, tmp_path)
    assert (found.number("forks"), found.boolean("become"), found.text("gathering")) == (7, True, "smart")
    assert found.role_folders() == [tmp_path / "more", Path("/abs")]
    assert load({"ANSIBLE_FORKS": "3"}, tmp_path).number("forks") == 3


def test_a_chosen_file_and_what_is_wrong_in_it(tmp_path: Path) -> None:
    chosen = tmp_path / "my.cfg"
    chosen.write_text("[defaults]\nforks = many\n")
    found = load({"ANSIBLE_CONFIG": str(chosen)}, tmp_path / "elsewhere")
    assert found.path == chosen
    with pytest.raises(UsageError, match=r"\[defaults\] forks must be a whole number, not 'many'"):
        found.number("forks")
    chosen.write_text("no section\n")
    with pytest.raises(UsageError, match="cannot be read"):
        load({"ANSIBLE_CONFIG": str(chosen)}, tmp_path)


def test_nothing_is_said(tmp_path: Path) -> None:
    found = load({"ANSIBLE_CONFIG": str(tmp_path / "missing.cfg")}, tmp_path)
    assert (found.path, found.text("forks"), found.boolean("become")) == (None, None, None)
    assert Path("/etc/ansible/roles") in found.role_folders()


def test_what_the_command_line_takes_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = argparse.Namespace(
        connection=None,
        ssh_common_args=None,
        ssh_extra_args=None,
        ask_pass=False,
        connection_password_file=None,
        vault_password_file=[],
        vault_id=[],
        ask_vault_pass=False,
        ask_become_pass=False,
        become_password_file=None,
    )
    (tmp_path / "secret").write_text("of the file\n")
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nremote_port = 2222\nhost_key_checking = False\ninterpreter_python = /usr/bin/python3\n"
        "connection_password_file = secret\n[privilege_escalation]\nbecome_ask_pass = true\n"
    )
    monkeypatch.delenv("ANSIBLE_PYTHON_INTERPRETER", raising=False)
    monkeypatch.chdir(tmp_path)
    assert connection.variables(args) == {
        "ansible_port": 2222,
        "ansible_host_key_checking": False,
        "ansible_password": "of the file",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    with pytest.raises(UsageError, match="-K asks for a password"):
        passwords.become_password(args)


def test_plugins_stand_where_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "class FilterModule:\n    def filters(self):\n        return {'own_filter': str.upper}\n"
    (tmp_path / "more").mkdir()
    (tmp_path / "more/f.py").write_text(code)
    (tmp_path / "ansible.cfg").write_text("[defaults]\nfilter_plugins = more\n")
    monkeypatch.delenv("ANSIBLE_FILTER_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    added = Plugins().add(tmp_path)
    assert added is not None
    assert "own_filter" in added.filters
