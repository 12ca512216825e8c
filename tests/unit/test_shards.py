"""`labctl run --shard`: which hosts each part takes, and what a playbook is warned of."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.cli.main import main
from labctl.engine.shard import divide
from labctl.errors import UsageError
from labctl.inventory import load

HOSTS = "[all:vars]\nansible_connection=local\n[web]\nw[1:7]\n[db]\nd[1:3]\n"


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """`cli("run", …)` in a folder with hosts: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABCTL_INVENTORY", raising=False)
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    Path("hosts").write_text(HOSTS)

    def call(*arguments: str):
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return call


def parts(tmp_path, text: str, of: int, limit: str | None = None) -> list[list[str]]:
    (tmp_path / "hosts").write_text(text)
    inventory = load([str(tmp_path / "hosts")])
    every = list(inventory.hosts.values())
    if limit:
        every = inventory.match("all", limit)
    shards = [divide(inventory, index, of, limit) for index in range(1, of + 1)]
    taken = [sorted(host.name for host in every if shard.takes(host)) for shard in shards]
    assert taken == [sorted(shard.hosts) for shard in shards]
    return taken


@pytest.mark.parametrize("of", [1, 2, 3, 4, 10, 11])
def test_every_host_is_in_one_shard_and_they_are_even(tmp_path, of):
    taken = parts(tmp_path, HOSTS, of)
    together = [name for part in taken for name in part]
    assert sorted(together) == sorted([f"w{n}" for n in range(1, 8)] + ["d1", "d2", "d3"])
    sizes = [len(part) for part in taken]
    assert max(sizes) - min(sizes) <= 1


def test_the_order_of_the_inventory_does_not_matter_and_groups_are_spread(tmp_path):
    one = parts(tmp_path, "[web]\nw1\nw2\nw3\n[db]\nd1\nd2\nd3\n", 3)
    other = parts(tmp_path, "[db]\nd3\nd1\nd2\n[web]\nw2\nw3\nw1\n", 3)
    assert one == other == [["d1", "w1"], ["d2", "w2"], ["d3", "w3"]]


def test_limit_comes_before_the_division(tmp_path):
    assert parts(tmp_path, HOSTS, 3, "db") == [["d1"], ["d2"], ["d3"]]


def test_localhost_is_of_the_first_shard(tmp_path):
    assert parts(tmp_path, "localhost\na\nb\nc\n", 3) == [["a", "localhost"], ["b"], ["c"]]


def test_shards_show_their_hosts_without_touching_them(cli):
    Path("site.yml").write_text("- {hosts: web, tasks: []}\n- {hosts: 'db,localhost', tasks: []}\n")
    out = cli("run", "site.yml", "-i", "hosts", "--list-hosts", "--shard", "2/3")[1]
    assert [line.strip() for line in out.splitlines() if line.startswith("      ")] == ["w2", "w5", "d2"]


def test_a_shard_without_hosts_ends_well(cli):
    Path("site.yml").write_text("- {hosts: db, gather_facts: false, tasks: [{ping: }]}\n")
    code, out, err = cli("run", "site.yml", "-i", "hosts", "--shard", "5/9")
    assert (code, err) == (0, "")
    assert "no hosts matched in shard 5/9" in out
    assert "TASK" not in out


def test_kubernetes_counts_from_zero(cli, monkeypatch):
    Path("site.yml").write_text("- {hosts: db, gather_facts: false, tasks: [{ping: }]}\n")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    assert "ok: [d1]" in cli("run", "site.yml", "-i", "hosts", "--shard", "auto/10")[1]


@pytest.mark.parametrize(
    ("given", "index", "said"),
    [
        ("0/4", None, "there is no part 0/4: the first is 1/4, the last 4/4"),
        ("5/4", None, "there is no part 5/4"),
        ("2", None, "'2' is not a part of a whole as 2/4, nor auto/4"),
        ("a/4", None, "'a/4' is not a part"),
        ("1/0", None, "'1/0' is not a part"),
        ("auto/4", None, "needs JOB_COMPLETION_INDEX, which is not set"),
        ("auto/4", "x", "JOB_COMPLETION_INDEX, which is 'x'"),
        ("auto/4", "4", "JOB_COMPLETION_INDEX is 4, and 'auto/4' has no more than 4 parts"),
    ],
)
def test_bad_shards(cli, monkeypatch, given, index, said):
    if index is not None:
        monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    code, _out, err = cli("run", "site.yml", "-i", "hosts", "--shard", given)
    assert code == UsageError.exit_code
    assert said in err


DOUBTFUL = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - {ping: , run_once: true}
    - {add_host: {name: x}}
- hosts: web
  gather_facts: false
  serial: 2
  any_errors_fatal: true
  max_fail_percentage: 0
  tasks:
    - {ping: , run_once: true}
    - {ping: , throttle: 1, run_once: true}
    - {ping: , run_once: false}
    - {add_host: {name: x}}
    - {meta: refresh_inventory}
"""


def test_what_means_something_else_is_said_once_with_its_position(cli):
    Path("site.yml").write_text(DOUBTFUL)
    err = cli("run", "site.yml", "-i", "hosts", "--shard", "2/3", "--syntax-check")[2]
    said = sorted(line.removeprefix("[WARNING]: ") for line in err.splitlines() if "--shard" in line)
    assert [line.split(": ", 3)[0::2] for line in said] == [
        ["site.yml:10:24", "max_fail_percentage"],
        ["site.yml:12:26", "run_once"],
        ["site.yml:13:26", "throttle"],
        ["site.yml:15:7", "add_host"],
        ["site.yml:16:7", "refresh_inventory"],
        ["site.yml:1:10", "localhost is of shard 1/3"],
        ["site.yml:8:11", "serial"],
        ["site.yml:9:21", "any_errors_fatal"],
    ]
    assert said[1].endswith("(2 such places)")
    assert "--shard" not in cli("run", "site.yml", "-i", "hosts", "--syntax-check")[2]


def test_other_shards_hosts_are_there_without_facts(cli):
    Path("hosts").write_text("[all:vars]\nansible_connection=local\n[web]\na port=1\nb port=2\n")
    Path("site.yml").write_text(
        "- hosts: web\n  gather_facts: false\n  tasks:\n    - set_fact: {made: 1}\n    - debug:\n        msg: >-\n"
        "          {{ groups.web | join(',') }} {{ hostvars.a.port }} {{ hostvars.a.made is defined }}"
        " {{ ansible_play_hosts | join(',') }}\n    - {ping: , delegate_to: a}\n"
    )
    code, out, _err = cli("run", "site.yml", "-i", "hosts", "--shard", "2/2")
    assert code == 0
    assert "a,b 1 False b" in out
    assert "ok: [b -> a]" in out


def test_a_host_the_run_adds_is_of_the_shard_that_adds_it(cli):
    Path("site.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - {add_host: {name: new, groups: fresh, ansible_connection: local}}\n"
        "- {hosts: fresh, gather_facts: false, tasks: [{ping: }]}\n"
    )
    assert "ok: [new]" in cli("run", "site.yml", "-i", "hosts", "--shard", "1/2")[1]
    assert "new" not in cli("run", "site.yml", "-i", "hosts", "--shard", "2/2")[1]
