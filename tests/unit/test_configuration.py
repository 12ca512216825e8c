"""Settings from ansible.cfg and ANSIBLE_* variables."""

from pathlib import Path

import pytest

from labctl.configuration import load
from labctl.errors import UsageError


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
