"""`labctl inventory`: what it prints can be read again, and stands for the same hosts."""

import json
import tomllib

import pytest
import yaml

from labctl.cli.main import main
from labctl.inventory import load
from labctl.inventory.export import Export, to_toml, to_yaml

INI = """\
lone n=5
[web]
web[1:2] x="{{ n }}" l="['a', 2]"
[db]
db1
[db:vars]
d={'a': {'b': 1}}
ansible_group_priority=5
[prod:children]
web
db
[prod:vars]
p=1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts").write_text(INI)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/web.yml").write_text("w: 1\nv: !unsafe '{{ x }}'\nnothing: null\n")
    return tmp_path


def members(inventory):
    return {name: sorted(hosts) for name, hosts in inventory.memberships().items()}


@pytest.mark.parametrize("own", [True, False])
def test_what_is_exported_can_be_read_again(folder, own):
    inventory = load(["hosts"])
    export = Export(inventory, frozenset(inventory.hosts), own=own)
    again = folder / "again"
    again.mkdir()
    (again / "i.yml").write_text(to_yaml(export.tree()))
    found = load([str(again / "i.yml")])
    assert members(found) == members(inventory)
    assert found.variables("web1") == {**inventory.variables("web1"), "v": {"__ansible_unsafe": "{{ x }}"}}
    (again / "i.toml").write_text(to_toml(export.tables()))
    assert tomllib.loads((again / "i.toml").read_text())
    found = load([str(again / "i.toml")])
    assert members(found) == members(inventory)
    assert found.variables("db1") == inventory.variables("db1")
    program = again / "program"
    listing = json.dumps({**export.listing()}, default=str)
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{listing}\nE\n")
    program.chmod(0o755)
    assert load([str(program)]).members("prod") == ["web1", "web2", "db1"]


def test_the_command_line(folder, capsys):
    assert main(["inventory", "-i", "hosts", "--list", "--limit", "web"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["web"]["hosts"] == ["web1", "web2"]
    unsafe = {"__ansible_unsafe": "{{ x }}"}
    assert listed["_meta"]["hostvars"] == {
        name: {"l": ["a", 2], "nothing": None, "p": 1, "v": unsafe, "w": 1, "x": "{{ n }}"}
        for name in ("web1", "web2")
    }
    assert main(["inventory", "-i", "hosts", "--graph", "prod", "--vars"]) == 0
    drawn = capsys.readouterr().out
    assert drawn.startswith("@prod:\n  |--@web:\n  |  |--web1\n  |  |  |--{l = ['a', 2]}\n")
    assert "  |  |--{ansible_group_priority = 5}\n" in drawn
    assert main(["inventory", "-i", "hosts", "--host", "db1", "-y", "--output", "out.yml"]) == 0
    assert yaml.safe_load((folder / "out.yml").read_text()) == {"d": {"a": {"b": 1}}, "p": 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "web"], "stands for 2"),
        (["--graph", "wbe"], "did you mean 'web'"),
        (["--list", "--output", "no/where"], "No such file"),
        ([], "one of the arguments"),
    ],
)
def test_what_is_not_there_is_said(folder, capsys, words, message):
    assert main(["inventory", "-i", "hosts", *words]) in (5, 7)
    assert message in capsys.readouterr().err
