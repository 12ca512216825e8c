"""Which hosts a run connects to before the engine is loaded: those it is sure to ask first, and no others."""

import pytest

from labctl.engine import ahead
from labctl.engine.options import RunOptions
from labctl.inventory import load
from labctl.playbook import load_playbook
from labctl.task_types import Registry

HOSTS = "a ansible_user=lab\nb ansible_port=2222\nc ansible_connection=local\nd\n"


class Prepared:
    def __init__(self):
        self.expected = 0
        self.hosts = []

    def expect(self, hosts):
        self.expected = hosts

    def prepare(self, settings, become):
        self.hosts.append((settings.host, settings.user, settings.port, become and become.user))


@pytest.fixture
def prepared(tmp_path):
    def connect(play, **options):
        (tmp_path / "hosts").write_text(HOSTS)
        (tmp_path / "site.yml").write_text(play)
        book = load_playbook(str(tmp_path / "site.yml"), Registry([]))
        found = Prepared()
        options = RunOptions(root=tmp_path, user="me", **options)
        ahead.connect(found, [book], load([str(tmp_path / "hosts")]), options)
        return found

    return connect


def test_the_hosts_whose_facts_are_gathered(prepared):
    found = prepared("- hosts: all\n  become: true\n  tasks: []\n")
    assert found.hosts == [("a", "lab", 22, "root"), ("b", "me", 2222, "root"), ("d", "me", 22, "root")]
    assert found.expected == 3


def test_no_more_than_there_are_forks(prepared):
    found = prepared("- hosts: all\n", forks=2)
    assert [host for host, *_ in found.hosts] == ["a", "b"]
    assert found.expected == 3


def test_the_first_task_says_as_whom(prepared):
    play = "- hosts: a:d\n  gather_facts: false\n  tasks:\n    - command: id\n      become: true\n      become_user: eve\n"
    assert prepared(play).hosts == [("a", "lab", 22, "eve"), ("d", "me", 22, "eve")]


@pytest.mark.parametrize(
    "task",
    [
        "debug: {msg: nothing to ask a host}",
        "command: id\n      when: inventory_hostname == 'a'",
        "command: id\n      loop: []",
        "command: id\n      run_once: true",
        "command: id\n      delegate_to: d",
        "command: id\n      tags: never",
        "block: [command: id]",
        "include_tasks: more.yml",
    ],
)
def test_nothing_where_the_first_task_may_not_ask_them(prepared, task, tmp_path):
    (tmp_path / "more.yml").write_text("[]")
    assert prepared(f"- hosts: all\n  gather_facts: false\n  tasks:\n    - {task}\n").hosts == []


@pytest.mark.parametrize(
    "options", [{"tags": frozenset({"x"})}, {"start_at_task": "x"}, {"step": True}, {"limit": "c"}]
)
def test_nothing_where_the_command_line_says_what_runs(prepared, options):
    assert prepared("- hosts: all\n", **options).hosts == []


@pytest.mark.parametrize(
    "play",
    [
        "- hosts: all\n  serial: 1\n",
        '- hosts: all\n  vars: {ansible_user: \'{{ lookup("env", "USER") }}\'}\n',
        "- hosts: all\n  gather_facts: '{{ some | default(false) }}'\n",
        "- hosts: all\n  vars_prompt: [{name: ansible_user}]\n",
    ],
)
def test_nothing_where_it_is_not_known_yet_how(prepared, play):
    assert "a" not in [host for host, *_ in prepared(play).hosts]
