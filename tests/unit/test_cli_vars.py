"""`labctl vars`: where a variable comes from, what it went before, and what a run may make of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labctl.cli.main import main

FILES = {
    "hosts": "[web]\nweb1 port=81\nweb2\n[web:vars]\nbase=8000\n",
    "group_vars/web/a.yml": "port: 8080\n",
    "group_vars/web/b.yml": "port: 8081\n",
    "host_vars/web1.yml": 'port: "{{ base + 1 }}"\n',
    "roles/nginx/defaults/main.yml": "port: 9\nonly_default: 1\n",
    "roles/nginx/tasks/main.yml": "[]\n",
    "site.yml": """\
- hosts: web
  gather_facts: false
  vars: {from_play: 90}
  roles: [nginx]
  tasks:
    - name: sets it
      set_fact: {port: 7}
    - name: its own
      debug: {msg: "{{ port }}"}
      vars: {port: 5}
    - command: "true"
      register: port
""",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _why(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["vars", "-i", "hosts", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_winner_is_named_with_its_position_and_what_it_overrode(project, capsys):
    said = _why(capsys, "web1", "--why", "port")
    assert said["value"] == 8001
    assert said["from"]["at"] == "host_vars/web1.yml:1:7"
    assert [place["value"] for place in said["over"]] == [81, 8081]


def test_values_that_are_no_strings_have_a_position_too(project, capsys):
    Path("nested.yml").write_text("web:\n  hosts: {web1: {port: 5}}\n  vars: {base: 7, deep: {a: 1}}\n")
    for source, name, place in (
        ("hosts", "base", "hosts:5:6"),
        ("nested.yml", "base", "nested.yml:3:16"),
        ("nested.yml", "deep", "nested.yml:3:25"),
    ):
        assert main(["vars", "-i", source, "--json", "web1", "--why", name]) == 0
        assert json.loads(capsys.readouterr().out)["from"]["at"] == place
    for source, place in (("hosts", "hosts:2:11"), ("nested.yml", "nested.yml:2:24")):
        assert main(["vars", "-i", source, "--json", "web1", "--why", "port"]) == 0
        assert json.loads(capsys.readouterr().out)["over"][0]["at"] == place


def test_a_playbook_adds_its_own_places_in_ansibles_order(project, capsys):
    said = _why(capsys, "web1", "--why", "port", "-p", "site.yml", "--task", "its own", "-e", "port=3")
    values = [said["from"]["value"], *(place["value"] for place in said["over"])]
    assert values == ["3", 5, "{{ base + 1 }}", 81, 8081, 9]
    assert said["over"][0]["at"] == "site.yml:10:20"


def test_what_a_run_may_still_change_is_listed(project, capsys):
    said = _why(capsys, "web2", "--why", "port", "-p", "site.yml")
    assert [later["at"] for later in said["later"]] == ["site.yml:7:24", "site.yml:12:17"]


def test_a_name_nothing_gives_is_an_error_with_the_nearest(project, capsys):
    assert main(["vars", "-i", "hosts", "web1", "--why", "prt"]) == 8
    assert "did you mean 'port'?" in capsys.readouterr().err


def test_all_variables_of_a_host_are_listed_with_their_origin(project, capsys):
    assert main(["vars", "-i", "hosts", "web2"]) == 0
    out = capsys.readouterr().out
    assert "port: 8081\n    group_vars/web/b.yml:1:7   group_vars of web beside the inventory" in out
    assert "base: 8000" in out


def test_a_task_that_is_not_there_is_an_error(project, capsys):
    assert main(["vars", "-i", "hosts", "web1", "-p", "site.yml", "--task", "its won"]) == 5
    assert "did you mean" in capsys.readouterr().err


def test_a_file_beside_both_inventory_and_playbook_is_named_once(project, capsys):
    (project / "group_vars/all.yml").write_text("region: eu\n")
    said = _why(capsys, "web1", "--why", "region", "-p", "site.yml")
    assert (said["value"], said["over"]) == ("eu", [])


def test_what_labctl_itself_gives_is_there_for_templates(project, capsys):
    (project / "host_vars/web2.yml").write_text('out: "{{ playbook_dir }}/{{ group_names[0] }}"\n')
    assert _why(capsys, "web2", "--why", "out", "-p", "site.yml")["value"] == f"{project}/web"
    assert _why(capsys, "web2", "--why", "out")["value"] == f"{project}/web"


def test_a_listing_shows_no_secret_of_a_vault(project, capsys):
    (project / "pw").write_text("open sesame\n")
    assert (
        main(["vault", "encrypt-string", "--vault-password-file", "pw", "-n", "token", "hunter2hunter2"]) == 0
    )
    (project / "group_vars/web/vault.yml").write_text(capsys.readouterr().out + 'dsn: "db:{{ token }}"\n')
    assert main(["vars", "-i", "hosts", "web2", "--vault-password-file", "pw"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert "dsn: db:********" in out
    said = _why(capsys, "web2", "--why", "token", "--vault-password-file", "pw")
    assert said["value"] == "hunter2hunter2"
