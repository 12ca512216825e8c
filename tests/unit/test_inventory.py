"""Inventory sources, patterns and the order in which variables are merged."""

import stat
import sys
from pathlib import Path

import pytest

from labctl.errors import InventoryError
from labctl.inventory import Additions, Inventory, load
from labctl.yaml import Text

INI = """\
lone ansible_host=10.0.0.9 number=5 flag=True word=true text="x y" cut=a#b
[web]
web[1:3]
[db]
db-[a:c]:2222 role=db
[prod:children]
web
db
[prod:vars]
level = 1
name = 'prod'
site = {{ where }}
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Writes an inventory under a name and loads it, with tmp_path as the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "hosts") -> Inventory:
        (tmp_path / name).write_text(text)
        return load([name])

    return write


def names(inventory: Inventory, pattern: str, limit: str | None = None) -> list[str]:
    return [host.name for host in inventory.match(pattern, limit)]


def failure(source, text: str, name: str = "hosts") -> InventoryError:
    with pytest.raises(InventoryError) as caught:
        source(text, name)
    assert caught.value.exit_code == 7
    return caught.value


# INI


def test_ini_hosts_groups_and_values(source) -> None:
    inventory = source(INI)
    assert list(inventory.hosts) == ["lone", "web1", "web2", "web3", "db-a", "db-b", "db-c"]
    assert inventory.hosts["lone"].vars == {
        "ansible_host": "10.0.0.9",
        "number": 5,
        "flag": True,
        "word": "true",
        "text": "x y",
        "cut": "a",
    }
    assert inventory.hosts["db-b"].vars == {"ansible_port": 2222, "role": "db"}
    assert inventory.variables("web1") == {"level": 1, "name": "prod", "site": "{{ where }}"}
    assert list(inventory.groups["ungrouped"].hosts) == ["lone"]
    assert inventory.groups["all"].children == ["ungrouped", "prod"]
    assert inventory.hosts["web2"].groups == ["prod", "web"]


def test_ini_texts_are_templates_with_a_position(source) -> None:
    inventory = source(INI)
    site = inventory.groups["prod"].vars["site"]
    assert isinstance(site, Text)
    assert str(site.mark) == "hosts:12:8"
    assert str(inventory.hosts["lone"].vars["ansible_host"].mark) == "hosts:1:19"
    assert str(inventory.hosts["db-a"].mark) == "hosts:5:1"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("h[01:03]", ["h01", "h02", "h03"]),
        ("h[8:12:2]x", ["h8x", "h10x", "h12x"]),
        ("[a:b][1:2]", ["a1", "a2", "b1", "b2"]),
        ("h[:2]", ["h0", "h1", "h2"]),
        ("fe80::1", ["fe80::1"]),
    ],
)
def test_ranges(pattern: str, expected: list[str], source) -> None:
    assert (
        list(source(f"[g]\n{pattern}\n").hosts if pattern[0] != "[" else load([f"{pattern},"]).hosts)
        == expected
    )


def test_ports_of_names_and_addresses() -> None:
    inventory = load(["web1:2200,[fe80::1]:22,fe80::2,h[1:2]:23"])
    ports = {name: host.vars.get("ansible_port") for name, host in inventory.hosts.items()}
    assert ports == {"web1": 2200, "fe80::1": 22, "fe80::2": None, "h1": 23, "h2": 23}


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("[web\nx\n", "1:1", "not a section", "[group:children]"),
        ("[web:childs]\n", "1:6", "cannot be of kind 'childs'", "'children'"),
        ("a\n[web:vars]\nx=1\n", "2:1", "'web' has variables but is declared nowhere", "[web]"),
        ("[web]\na\n[p:children]\n  wep\n", "4:3", "'wep' is a child of 'p'", "'web'"),
        ("web1 x=1 oops\n", "1:10", "expected name=value after the host, found: oops", "quoted"),
        ('web1 x="1\n', "1:6", "is not closed", None),
        ("[g]\nh[3:1]\n", "2:1", "is empty", None),
        ("[g]\nh[01:100]\n", "2:1", "same number of digits", None),
        ("[g]\nh[a:5]\n", "2:1", "between two numbers or two letters", None),
        ("[g]\nh[1\n", "2:1", "unbalanced bracket", None),
        ("[g]\nh[1:2:0]\n", "2:1", "step", None),
        ("all:\n", "1:1", "'all:' is not a host name", "YAML"),
        ("[g:vars]\nnonsense\n[g]\n", "2:1", "expected name=value", None),
        ("[g]\nx\n[g:vars]\nansible_group_priority=high\n", "4:24", "must be an integer", None),
        ("[a:children]\nb\n[b:children]\na\n", "4:1", "cannot hold", None),
    ],
)
def test_ini_errors_have_positions(source, text, where, message, hint) -> None:
    error = failure(source, text, "hosts.ini")
    assert str(error.mark) == f"hosts.ini:{where}"
    assert message in error.message
    if hint:
        assert hint in (error.hint or "")


# YAML

YAML = """\
all:
  vars: {top: 1, who: all}
  hosts:
    zz:
  children:
    prod:
      children:
        web: {vars: {who: web}}
        db:
      vars: {who: prod, p: 1}
    web:
      hosts:
        w[1:3]: {n: 5}
    db:
      hosts: {d1: {who: host}, w2: }
    app:
      hosts: w1
      vars: {ansible_group_priority: 5, who: app, rank: app}
    zap:
      hosts: {w1: }
      vars: {who: zap, rank: zap}
"""


def test_yaml_groups_priority_and_depth(source) -> None:
    inventory = source(YAML, "i.yml")
    assert names(inventory, "all") == ["zz", "w1", "w2", "w3", "d1"]
    assert inventory.variables("zz") == {"top": 1, "who": "all"}
    assert inventory.variables("w1") == {"top": 1, "p": 1, "n": 5, "rank": "app", "who": "web"}
    assert inventory.variables("d1")["who"] == "host"
    assert inventory.hosts["w1"].groups == ["prod", "zap", "app", "web"]
    assert inventory.groups["web"].depth == 2


def test_a_file_without_ending_is_recognised_by_its_first_line(source) -> None:
    assert list(source("---\nall: {hosts: {a: }}\n").hosts) == ["a"]
    assert list(source("# c\nweb:\n  hosts:\n    b:\n").hosts) == ["b"]
    assert list(source('{"all": {"hosts": {"c": null}}}').hosts) == ["c"]
    assert list(source("d x=1\n").hosts) == ["d"]


@pytest.mark.parametrize(
    ("text", "where", "message", "hint"),
    [
        ("- a\n", "1:1", "a mapping of groups", None),
        ("all:\n  hosts:\n    - a\n", "3:5", "hosts of group 'all' must be a mapping", "':' after each name"),
        ("all:\n  hosts:\n    a: 5\n", "3:8", "host 'a' must be a mapping", None),
        ("all:\n  vars: x\n", "2:9", "must be a mapping", None),
        ("all:\n  hosts: {a b: }\n", "2:11", "cannot hold ' '", None),
        ("a: b: c\n", "1:5", "not valid YAML", "quoted"),
        ("plugin: lap\n", "1:9", "unknown inventory plugin 'lap'", "'lab'"),
        ("a: {children: {b: {children: {a: }}}}\n", "1:31", "cannot hold", None),
    ],
)
def test_yaml_errors_have_positions(source, text, where, message, hint) -> None:
    error = failure(source, text, "i.yml")
    assert str(error.mark) == f"i.yml:{where}"
    assert message in error.message
    if hint:
        assert hint in (error.hint or "")


def test_what_is_no_group_is_left_out_with_a_warning(source) -> None:
    inventory = source("all:\n  host:\n    a:\n  hosts: {b: }\nweb: 3\n", "i.yml")
    assert list(inventory.hosts) == ["b"]
    assert "web" not in inventory.groups
    assert [(message, str(mark).split(":", 1)[1]) for message, mark in inventory.warnings] == [
        ("'host' is left out, as a group has no such key (did you mean 'hosts'?)", "2:3"),
        ("'web' is left out: a group is a mapping that holds hosts:, children: and vars:", "5:6"),
    ]


def test_a_toml_inventory(source) -> None:
    text = '[web]\nchildren = ["a", "b"]\nvars = { port = 80 }\n[a.hosts]\nh1 = { x = "1" }\n[b.hosts.h2]\n'
    inventory = source(text, "i.toml")
    assert inventory.members("web") == ["h1", "h2"]
    assert inventory.variables("h1") == {"port": 80, "x": "1"}
    assert inventory.hosts["h1"].vars["x"].mark is not None
    assert "not a TOML inventory" in failure(source, "[a\n", "i.toml").message


# labs

LAB = """\
plugin: lab
name: demo
vars: {flavour: small}
groups:
  cluster: {children: {workers: }}
nodes:
  master: {groups: [storage], memory: 512}
  worker[1:2]:
    groups: workers
    vars: {slot: 1}
"""


def test_a_lab_is_a_spec_and_ordinary_hosts(source) -> None:
    inventory = source(LAB, "lab.yml")
    (lab,) = inventory.labs
    assert lab.name == "demo"
    assert lab.path == Path("lab.yml")
    assert lab.nodes["master"] == {"groups": ["storage"], "memory": 512}
    assert list(lab.nodes) == ["master", "worker1", "worker2"]
    assert names(inventory, "cluster") == ["worker1", "worker2"]
    assert inventory.variables("master") == {"flavour": "small", "memory": 512}
    assert inventory.variables("worker2") == {"flavour": "small", "slot": 1}


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("plugin: lab\nnode: {}\n", "2:1", "no 'node'"),
        ("plugin: lab\nname: x\n", "1:1", "needs nodes"),
        ("plugin: lab\nname: [x]\nnodes: {a: }\n", "2:7", "name must be a string"),
        ("plugin: lab\nnodes: {a: {groups: {b: }}}\n", "2:21", "must be a list of names"),
        ("plugin: lab\nnodes: {a: 5}\n", "2:12", "node 'a' must be a mapping"),
    ],
)
def test_lab_errors(source, text, where, message) -> None:
    error = failure(source, text, "lab.yml")
    assert str(error.mark) == f"lab.yml:{where}"
    assert message in error.message


# programs, folders, several sources


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_an_executable_inventory(tmp_path) -> None:
    program(
        tmp_path / "dynamic",
        """cat <<'X'
{"web": {"hosts": ["a", "b"], "vars": {"x": "{{ y }}"}}, "db": ["c"], "p": {"children": ["web"]},
 "_meta": {"hostvars": {"a": {"n": 1}}}}
X""",
    )
    inventory = load([str(tmp_path / "dynamic")])
    assert names(inventory, "p") == ["a", "b"]
    assert names(inventory, "all:!p") == ["c"]
    assert inventory.variables("a") == {"x": "{{ y }}", "n": 1}
    assert isinstance(inventory.variables("a")["x"], Text)


def test_an_executable_inventory_without_meta_is_asked_for_each_host(tmp_path) -> None:
    program(
        tmp_path / "d",
        'if [ "$1" = --host ]; then echo "{\\"me\\": \\"$2\\"}"; else echo \'{"g": ["a", "b"]}\'; fi',
    )
    assert load([str(tmp_path / "d")]).variables("b") == {"me": "b"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo broken >&2; exit 3", "exit status 3"),
        ("echo nonsense", "did not print JSON"),
        ("echo '[1]'", "must print a JSON object"),
        ('echo \'{"g": {"hosts": "a"}}\'', "hosts of group 'g' must be a list"),
        ('echo \'{"_meta": {"hostvars": [1]}}\'', "_meta.hostvars must be a mapping"),
    ],
)
def test_a_program_that_fails_is_one_error(tmp_path, body, message) -> None:
    program(tmp_path / "d", body)
    with pytest.raises(InventoryError, match=message) as caught:
        load([str(tmp_path / "d")])
    assert caught.value.hint in (None, "broken")


def test_a_folder_is_every_inventory_in_it(tmp_path) -> None:
    (tmp_path / "01.ini").write_text("[web]\na x=1\n")
    (tmp_path / "02.yml").write_text("web: {hosts: {b: }, vars: {who: file}}\n")
    (tmp_path / "README.md").write_text("not an inventory [")
    (tmp_path / "old.bak").write_text("[")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "web.yml").write_text("who: beside\n")
    inventory = load([str(tmp_path)])
    assert names(inventory, "web") == ["a", "b"]
    assert inventory.variables("a") == {"who": "beside", "x": 1}


def test_later_sources_win(tmp_path) -> None:
    (tmp_path / "one").write_text("a x=1 y=1\n")
    (tmp_path / "two").write_text("[g]\na x=2\n")
    inventory = load([str(tmp_path / "one"), str(tmp_path / "two"), "extra,"])
    assert inventory.hosts["a"].vars == {"x": 2, "y": 1}
    assert names(inventory, "ungrouped") == ["extra"]


def test_a_missing_inventory_is_one_clear_error(tmp_path) -> None:
    (tmp_path / "lab").mkdir()
    with pytest.raises(InventoryError) as caught:
        load([str(tmp_path / "lba")])
    assert caught.value.message == f"there is no inventory at '{tmp_path}/lba'"
    assert caught.value.hint == "did you mean 'lab'?"
    with pytest.raises(InventoryError, match="holds no inventory file"):
        load([str(tmp_path / "lab")])


def test_files_that_are_no_inventories(tmp_path) -> None:
    (tmp_path / "bin").write_bytes(b"\xff\xfe")
    with pytest.raises(InventoryError, match="not UTF-8"):
        load([str(tmp_path / "bin")])
    (tmp_path / "empty.yml").write_text("")
    assert [message for message, _mark in load([str(tmp_path / "empty.yml")]).warnings] == [
        "this inventory is empty"
    ]


def test_a_name_for_both_a_host_and_a_group_is_warned_about(source) -> None:
    inventory = source("[web]\nweb\n")
    assert [message for message, _mark in inventory.warnings] == ["'web' is both a host and a group"]


# variables


def test_variables_are_merged_in_the_documented_order(tmp_path) -> None:
    inventory_dir, playbook_dir = tmp_path / "inv", tmp_path / "play"
    files = {
        "inv/hosts": "[child]\nh v_host=file\n[parent:children]\nchild\n[all:vars]\nv1=all\nv2=all\nv3=all\n"
        "[child:vars]\nv2=child-file\nv3=child-file\nv4=child-file\nv5=child-file\nv6=child-file\nv_host=group\n",
        "inv/group_vars/all.yml": "v3: all-inv\nv4: all-inv\nv5: all-inv\nv6: all-inv\nv7: all-inv\n",
        "play/group_vars/all.yml": "v4: all-play\nv5: all-play\nv6: all-play\nv7: all-play\n",
        "inv/group_vars/child/a.yml": "v5: child-inv\nv6: child-inv\nv8: a\n",
        "inv/group_vars/child/b.yml": "v8: b\n",
        "inv/group_vars/parent.yml": "v5: parent-inv\nv7: parent-inv\n",
        "play/group_vars/child": "v6: child-play\n",
        "inv/host_vars/h.json": '{"h1": "inv", "h2": "inv", "v_host2": 1}',
        "play/host_vars/h.yaml": "h2: play\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    inventory = load([str(inventory_dir / "hosts")])
    assert inventory.variables("h", playbook_dir) == {
        "v1": "all",
        "v2": "child-file",
        "v3": "all-inv",
        "v4": "all-play",
        "v5": "child-inv",
        "v6": "child-play",
        "v7": "parent-inv",
        "v8": "b",
        "v_host": "file",
        "h1": "inv",
        "h2": "play",
        "v_host2": 1,
    }
    assert inventory.variables("h")["v6"] == "child-inv"
    assert str(inventory.variables("h")["v8"].mark) == f"{inventory_dir}/group_vars/child/b.yml:1:5"


def test_localhost_is_always_a_host_with_the_variables_of_all(tmp_path) -> None:
    (tmp_path / "hosts").write_text("a\n[all:vars]\nx=1\n")
    inventory = load([str(tmp_path / "hosts")])
    assert names(inventory, "localhost") == ["localhost"]
    assert names(inventory, "all") == ["a"]
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    assert inventory.variables("localhost") == {"x": 1, **local}
    assert inventory.host("localhost").implicit


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("- 1\n", "1:1", "a mapping of names"),
        ("a: b: c\n", "1:5", "not valid YAML"),
        ("1: x\n", "1:1", "a string"),
    ],
)
def test_files_of_variables_that_hold_none(tmp_path, monkeypatch, text, where, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts").write_text("a\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "a.yml").write_text(text)
    inventory = load(["hosts"])
    with pytest.raises(InventoryError) as caught:
        inventory.variables("a")
    assert str(caught.value.mark) == f"host_vars/a.yml:{where}"
    assert message in caught.value.message


def test_a_second_file_of_variables_is_not_read_and_said_so(tmp_path) -> None:
    (tmp_path / "hosts").write_text("a\n")
    folder = tmp_path / "group_vars"
    folder.mkdir()
    (folder / "all").mkdir()
    (folder / "all" / "x.yml").write_text("x: dir\n")
    (folder / "all.yml").write_text("x: file\n")
    inventory = load([str(tmp_path / "hosts")])
    assert inventory.variables("a") == {"x": "dir"}
    assert "'all.yml' is not" in inventory.warnings[0][0]


# patterns


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("all", "lone web1 web2 web3 db-a db-b db-c"),
        ("*", "lone web1 web2 web3 db-a db-b db-c"),
        ("db:web", "db-a db-b db-c web1 web2 web3"),
        ("web,lone", "web1 web2 web3 lone"),
        ("prod:&web", "web1 web2 web3"),
        ("prod:!web:!db-a", "db-b db-c"),
        ("!prod", "lone"),
        ("!web2:web", "web1 web3"),
        ("web*:!web2", "web1 web2 web3".replace("web2 ", "")),
        ("web?", "web1 web2 web3"),
        ("~(web|db-)[1a]", "web1 db-a"),
        ("~(?:web1|lone)$", "lone web1"),
        ("web[0]", "web1"),
        ("web[-1]", "web3"),
        ("web[0:1]", "web1 web2"),
        ("web[1:]", "web2 web3"),
        ("prod[2:3]:lone", "web3 db-a lone"),
        ("ungrouped", "lone"),
        ("localhost", "localhost"),
    ],
)
def test_patterns(source, pattern: str, expected: str) -> None:
    assert names(source(INI), pattern) == expected.split()


def test_a_list_of_patterns_and_a_file_of_them(source, tmp_path) -> None:
    inventory = source(INI)
    assert [host.name for host in inventory.match(["db", "!db-a", "lone"])] == ["db-b", "db-c", "lone"]
    (tmp_path / "only").write_text("web1  # first\n\nlone\n")
    assert names(inventory, "@only") == ["web1", "lone"]
    assert names(inventory, "all", "@only") == ["lone", "web1"]


def test_the_limit_keeps_the_order_of_the_pattern(source) -> None:
    inventory = source(INI)
    assert names(inventory, "prod", "db-b,web1") == ["web1", "db-b"]
    assert names(inventory, "web", "lone") == []


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("wev", "no host or group is called 'wev'", "did you mean 'web'?"),
        ("web:!lonne", "no host or group is called 'lonne'", "did you mean 'lone'?"),
        ("xyz9", "no host or group is called 'xyz9'", "there are: "),
        ("xyz*", "no host or group matches 'xyz*'", None),
        ("~(", "is not a regular expression", None),
        ("web[7]", "outside 'web', which has 3 hosts", None),
        ("", "is empty", None),
        ("web:!", "needs a host or group after it", None),
        ("@nofile", "cannot read the host list", None),
    ],
)
def test_patterns_that_name_nothing_are_refused(source, pattern, message, hint) -> None:
    inventory = source(INI)
    with pytest.raises(InventoryError, match=None) as caught:
        inventory.match(pattern)
    assert message in caught.value.message
    if hint:
        assert hint in (caught.value.hint or "")


def test_an_unknown_limit_is_refused_and_a_wildcard_to_exclude_is_not(source, tmp_path) -> None:
    inventory = source(INI)
    with pytest.raises(InventoryError, match="--limit: no host or group is called 'wbe1'"):
        inventory.match("all", "wbe1")
    assert len(inventory.match("all:!xyz*")) == 7
    (tmp_path / "only").write_text("web1\nnope\n")
    with pytest.raises(InventoryError) as caught:
        inventory.match("all", "@only")
    assert str(caught.value.mark) == "only:2:1"


def test_a_pattern_from_a_playbook_carries_its_position(source) -> None:
    from labctl.errors import Mark

    mark = Mark("play.yml", 1, 10)
    with pytest.raises(InventoryError) as caught:
        source(INI).match(Text("wev", mark))
    assert caught.value.mark == mark


def test_hosts_and_groups_added_at_run_time(source) -> None:
    inventory = source(INI)
    inventory.add_host("new", "web").vars["x"] = 1
    inventory.settle()
    assert names(inventory, "prod")[:4] == ["web1", "web2", "web3", "new"]
    assert inventory.hosts["new"].groups == ["prod", "web"]
    assert inventory.variables("new")["level"] == 1


# what a run adds


def test_a_run_adds_hosts_and_groups(source) -> None:
    inventory = source("[web]\na\n")
    additions = Additions(inventory)
    assert additions.host("new", ["web", "fresh"], {"x": 1})
    assert not additions.host("new", ["web"], {"x": 1})
    assert additions.host("new", [], {"x": 2})
    assert (names(inventory, "all"), names(inventory, "fresh")) == (["new", "a"], ["new"])
    assert inventory.variables("new") == {"x": 2}
    assert additions.grouping("a", "by_os", ["parent"])
    assert not additions.grouping("a", "by_os", ["parent"])
    assert names(inventory, "parent") == ["a"]
    assert inventory.hosts["a"].groups == ["parent", "web", "by_os"]
    with pytest.raises(InventoryError, match="cannot hold"):
        additions.grouping("a", "parent", ["by_os"])


def test_a_host_that_joins_a_group_is_as_if_the_sources_had_said_so(source) -> None:
    inventory = source("lone\n[web]\na\nb\n[top:children]\nmiddle\n[middle:children]\nweb\n")
    additions = Additions(inventory)
    assert additions.grouping("lone", "odd", ["top"]) == ["lone"]
    for host, group in (("a", "odd"), ("lone", "web"), ("b", "middle"), ("b", "odd"), ("lone", "odd")):
        moved = additions.grouping(host, group, ["top"] if group == "odd" else [])
        assert moved == ([] if (host, group) in {("b", "middle"), ("lone", "odd")} else [host])
        found = {name: list(each.groups) for name, each in inventory.hosts.items()}
        ungrouped = list(inventory.groups["ungrouped"].hosts)
        inventory.settle()
        assert found == {name: each.groups for name, each in inventory.hosts.items()}
        assert ungrouped == list(inventory.groups["ungrouped"].hosts) == []
    assert inventory.hosts["lone"].groups == ["top", "middle", "odd", "web"]


@pytest.mark.parametrize("groups", [[], ["web"], ["middle"], ["fresh"], ["web", "middle", "fresh"]])
@pytest.mark.parametrize("name", ["new", "lone", "b"])
def test_a_host_that_is_added_is_as_if_the_sources_had_said_so(source, name, groups) -> None:
    inventory = source("lone\n[web]\na\nb\n[top:children]\nmiddle\n[middle:children]\nweb\n")
    Additions(inventory).host(name, groups, {"x": 1})
    found = {host.name: list(host.groups) for host in inventory.hosts.values()}
    ungrouped = list(inventory.groups["ungrouped"].hosts)
    inventory.settle()
    assert found == {host.name: host.groups for host in inventory.hosts.values()}
    assert ungrouped == list(inventory.groups["ungrouped"].hosts)


def test_sources_read_anew_keep_what_a_run_has_added(tmp_path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("[web]\na\nb\n")
    inventory = load([str(hosts)])
    additions = Additions(inventory)
    additions.host("new", ["web"], {"x": 1})
    additions.grouping("a", "gone", ["all"])
    inventory.tell("b", {"ansible_port": 22})
    hosts.write_text("[web]\nb\nc\n")
    inventory.refresh()
    additions.again()
    assert inventory.members("web") == ["b", "c", "new"]
    assert "a" not in inventory.hosts
    assert inventory.variables("b") == {"ansible_port": 22}


def test_a_host_outside_every_inventory_has_the_variables_of_all(source) -> None:
    inventory = source("a\n[all:vars]\nx=1\n")
    assert inventory.outside("10.0.0.5").implicit
    assert inventory.variables("10.0.0.5") == {"x": 1}
    assert names(inventory, "all") == ["a"]
    with pytest.raises(InventoryError):
        inventory.match("10.0.0.5")


def test_a_name_that_nothing_has_can_be_a_warning(source) -> None:
    inventory, said = source("[web]\na\n"), []
    found = inventory.match("web:nope:zz*", warn=lambda message, _mark: said.append(message))
    assert [host.name for host in found] == ["a"]
    assert said == [
        "no host or group is called 'nope' (there are: web, a)",
        "no host or group matches 'zz*'",
    ]
    with pytest.raises(InventoryError, match="--limit"):
        inventory.match("web", "nope", warn=lambda *_: None)


def test_a_list_of_hosts_may_be_longer_than_a_file_name() -> None:
    hosts = [f"host{number}.example" for number in range(500)]
    assert list(load([",".join(hosts)]).hosts) == hosts
    with pytest.raises(InventoryError, match="there is no inventory at"):
        load(["x" * 5000])
