"""`plugin: constructed`: variables and groups made of those of other sources."""

import pytest

from labctl.cli.common import _evaluate
from labctl.errors import InventoryError
from labctl.inventory import load

HOSTS = "[web]\nweb1 env=prod os=deb\nweb2 env=dev\n"


@pytest.fixture
def constructed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts").write_text(HOSTS)

    def read(text, evaluate=_evaluate):
        (tmp_path / "c.yml").write_text(f"plugin: constructed\n{text}")
        return load(["hosts", "c.yml"], evaluate)

    return read


def test_variables_and_groups(constructed):
    inventory = constructed("""
compose: {full: "inventory_hostname ~ '.' ~ env", system: os}
groups: {prods: env == 'prod', webs: "'web' in group_names", short: full | length < 9}
""")
    assert inventory.variables("web1")["full"] == "web1.prod"
    assert "system" not in inventory.variables("web2")  # not strict: passed over
    assert inventory.members("prods") == ["web1"]
    assert inventory.members("webs") == ["web1", "web2"]
    assert inventory.members("short") == ["web2"]


def test_keyed_groups(constructed):
    inventory = constructed("""
keyed_groups:
  - {key: env, prefix: env}
  - {key: os, separator: ""}
  - {key: "[env, 'x']", prefix: l, parent_group: ls}
  - {key: "{'a': env}", prefix: d}
  - {key: os | default(''), prefix: os, default_value: none}
""")
    groups = {
        name: hosts for name, hosts in inventory.memberships().items() if name not in ("all", "ungrouped")
    }
    assert groups == {
        "web": ["web1", "web2"],
        "env_prod": ["web1"],
        "deb": ["web1"],
        "l_prod": ["web1"],
        "l_x": ["web1", "web2"],
        "ls": ["web1", "web2"],
        "d_a_prod": ["web1"],
        "os_deb": ["web1"],
        "env_dev": ["web2"],
        "l_dev": ["web2"],
        "d_a_dev": ["web2"],
        "os_none": ["web2"],
    }


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("strict: true\ncompose: {a: nowhere}\n", "web1: 'nowhere' is undefined", "3:14"),
        ("composed: {}\n", "no 'composed'", "2:1"),
        ("compose: [a]\n", "'compose' must be a mapping", "2:10"),
        ("keyed_groups: [{prefix: a}]\n", "a 'key'", "2:16"),
        ("keyed_groups: [{key: a, prefx: b}]\n", "no 'prefx'", "2:25"),
    ],
)
def test_faults_have_positions(constructed, text, message, where):
    with pytest.raises(InventoryError) as caught:
        constructed(text)
    assert message in caught.value.message
    assert str(caught.value.mark) == f"c.yml:{where}"
