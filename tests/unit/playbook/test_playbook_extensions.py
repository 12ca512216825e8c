"""Modules and plugins for Ansible beside a playbook."""

from pathlib import Path

import pytest

from labctl.errors import PlaybookError
from labctl.playbook import load_playbook
from labctl.task_types import Registry


def _written(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_suffix(".yml") if path.parent == folder else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder / "play.yml")


@pytest.mark.parametrize("folder", ["library", "action_plugins"])
def test_a_module_is_refused_with_its_file(tmp_path: Path, folder: str) -> None:
    play = "- hosts: all\n  tasks:\n    - my_thing: {path: x}\n    - debug: {msg: x}\n"
    path = _written(tmp_path, play=play, **{f"{folder}__my_thing": "print(1)\n"})
    with pytest.raises(PlaybookError, match=r"'my_thing' is a module for Ansible") as caught:
        load_playbook(path, Registry())
    assert str(tmp_path / folder / "my_thing.py") in caught.value.message
    assert "tasks/my_thing.py" in (caught.value.hint or "")
    assert caught.value.mark is not None
    assert caught.value.mark.line == 3


def test_modules_of_a_role_are_known_too(tmp_path: Path) -> None:
    path = _written(tmp_path, play="- hosts: all\n  roles: [r]\n")
    role = tmp_path / "roles/r"
    (role / "tasks").mkdir(parents=True)
    (role / "tasks/main.yml").write_text("- own_thing:\n")
    (role / "library").mkdir()
    (role / "library/own_thing.py").write_text("")
    with pytest.raises(PlaybookError, match="'own_thing' is a module for Ansible"):
        load_playbook(path, Registry())


def test_what_is_there_in_vain_is_told_once(tmp_path: Path) -> None:
    play = "- hosts: all\n  tasks: [debug: {msg: x}]\n"
    files = {
        "library__ping": "",
        "callback_plugins__mine": "",
        "module_utils__common": "",
    }
    path = _written(tmp_path, play=play, **files)
    messages = [message for message, _mark in load_playbook(path, Registry()).warnings]
    assert messages == [
        f"{tmp_path}/library/ping.py is ignored: 'ping' is a task type of labctl's",
        f"{tmp_path}/callback_plugins is ignored: labctl loads no callback plugins",
        f"{tmp_path}/module_utils is ignored: labctl loads no module utils",
    ]
