"""Files that tasks put on hosts and that are not beside the playbook: said before the run."""

from __future__ import annotations

import pytest

from labctl.playbook import load_playbook
from labctl.playbook.controller_files import missing
from labctl.task_types import Registry

FILES = {
    "files/here.txt": "x",
    "files/tree/a": "x",
    "templates/app.conf.j2": "x",
    "roles/web/files/of_role": "x",
    "roles/web/tasks/main.yml": "- copy: {src: of_role, dest: /a}\n- template: {src: app.conf.j2, dest: /a}\n- copy: {src: none, dest: /a}\n",
    "run.sh": "x",
}


@pytest.fixture
def said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def of(text: str) -> list[str]:
        (tmp_path / "play.yml").write_text(text)
        found = missing(load_playbook("play.yml", Registry()))
        return [f"{mark}: {message}" for message, mark in found]

    return of


@pytest.mark.parametrize(
    "task",
    [
        "copy: {src: here.txt, dest: /a}",
        "copy: {src: files/here.txt, dest: /a}",
        "copy: {src: tree/, dest: /a}",
        "copy: {content: x, dest: /a}",
        "copy: {src: nope, dest: /a, remote_src: true}",
        "copy: {src: '{{ x }}', dest: /a}",
        "template: {src: app.conf.j2, dest: /a}",
        "script: run.sh --verbose",
        "unarchive: {src: 'http://localhost/x.tgz', dest: /a, remote_src: true}",
        "unarchive: {src: /nope.tgz, dest: /a, copy: false}",
    ],
)
def test_nothing_is_said_of_what_is_there_or_cannot_be_told(said, task):
    assert said(f"- hosts: all\n  tasks:\n    - {task}\n") == []


@pytest.mark.parametrize(
    ("task", "where", "what"),
    [
        ("copy: {src: her.txt, dest: /a}", "3:19", "'her.txt' is not there yet; did you mean 'here.txt'?"),
        ("copy: {src: zzz, dest: /a}", "3:19", "'zzz' is not there yet; looked in: files, ."),
        ("template: src=x.j2 dest=/a", "3:21", "'x.j2' is not there yet; looked in: templates, ."),
        ("script: zzz.sh --verbose", "3:15", "'zzz.sh' is not there yet; looked in: files, ."),
        ("unarchive: {src: /nope/x.tgz, dest: /a}", "3:24", "'/nope/x.tgz' is not there yet"),
    ],
)
def test_what_is_missing_is_said_with_its_position(said, task, where, what):
    assert said(f"- hosts: all\n  tasks:\n    - {task}\n") == [f"play.yml:{where}: {what}"]


def test_roles_look_in_their_own_folders_first_and_beside_the_playbook(said):
    (only,) = said("- hosts: all\n  roles: [web]\n")
    assert only.startswith(
        "roles/web/tasks/main.yml:3:15: 'none' is not there yet; looked in: roles/web/files"
    )
