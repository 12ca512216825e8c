"""Roles: where they are found, what belongs to one, dependencies, and how they nest."""

import pytest

from labctl.errors import PlaybookError
from labctl.playbook import Role, Task, list_hosts, list_tags, list_tasks, load_role, select_handlers, walk


@pytest.fixture
def roles(book):
    for name in ("web", "db", "common"):
        book.file(f"roles/{name}/tasks/main.yml", f"- name: {name} task\n  debug:\n")
    for name in ("web", "db"):
        book.file(f"roles/{name}/meta/main.yml", "dependencies: [common]\ngalaxy_info: {}\n")
    return book


def run_order(playbook) -> list[str]:
    return [task.label for task in list_tasks(playbook)[0].tasks]


def test_a_role_has_tasks_handlers_defaults_and_variables(book) -> None:
    book.file("roles/r/tasks/main.yml", "- debug: {msg: '{{ d }}'}\n  notify: h\n")
    book.file("roles/r/handlers/main.yaml", "- {name: h, debug: }\n")
    book.file("roles/r/defaults/main.yml", "d: default\n")
    book.file("roles/r/vars/main/a.yml", "v: 1\nw: 1\n")
    book.file("roles/r/vars/main/b.yml", "w: 2\n")
    play = book.load("- hosts: all\n  roles: [{role: r, tags: t, when: c, p: 1, vars: {q: 2}}]\n").plays[0]
    (role,) = play.roles
    assert isinstance(role, Role)
    assert (role.name, str(role.path)) == ("r", "roles/r")
    assert (role.defaults, role.variables) == ({"d": "default"}, {"v": 1, "w": 2})
    assert (role.params, role.vars) == ({"p": 1}, {"q": 2})
    assert str(role.defaults["d"].mark) == "roles/r/defaults/main.yml:1:4"
    (task,) = role.tasks
    assert task.role is role
    assert task.conditions == ["c"]
    assert task.all_tags() == ["t"]
    assert task.role_params() == {"p": 1}
    assert task.block_vars() == {}
    assert task.label() == "r : debug"
    assert [handler.label() for handler in select_handlers(play.handlers(), "r : h")] == ["r : h"]


def test_dependencies_run_first_and_once(roles) -> None:
    playbook = roles.load(
        "- hosts: all\n  pre_tasks: [{debug: }]\n  roles: [web, db, web]\n  tasks: [{debug: }]\n"
    )
    assert run_order(playbook) == ["debug", "common : common task", "web : web task", "db : db task", "debug"]


def test_a_dependency_runs_again_where_its_first_run_could_have_been_left_out(roles) -> None:
    text = "- hosts: all\n  roles: [{role: web, when: sometimes}, db]\n"
    assert run_order(roles.load(text)).count("common : common task") == 2
    text = "- hosts: all\n  roles: [web, {role: db, when: sometimes}]\n"
    assert run_order(roles.load(text)).count("common : common task") == 1


def test_roles_called_differently_or_allowing_it_run_again(roles) -> None:
    assert (
        run_order(roles.load("- hosts: all\n  roles: [common, {role: common, x: 1}]\n"))
        == ["common : common task"] * 2
    )
    roles.file("roles/common/meta/main.yml", "allow_duplicates: true\n")
    assert run_order(roles.load("- hosts: all\n  roles: [common, common]\n")) == ["common : common task"] * 2


def test_a_dependency_inherits_from_the_role_that_needs_it(roles) -> None:
    play = roles.load("- hosts: all\n  roles: [{role: web, when: c, tags: t, p: 1}]\n").plays[0]
    (task, _own) = play.sections()[1][1]
    assert (task.role.name, task.conditions, task.all_tags()) == ("common", ["c"], ["t"])
    assert [role.name for role in task.roles_around] == ["web", "common"]
    assert task.role_params() == {"p": 1}


def test_import_role_stands_in_a_block(roles) -> None:
    roles.file("roles/web/tasks/other.yml", "- name: other\n  debug:\n")
    play = roles.tasks("- import_role: {name: web, tasks_from: other}\n  when: c\n  vars: {v: 1}\n").plays[0]
    (block,) = play.tasks
    assert [entry.name for entry in walk(block.block)] == ["common task", "other"]
    other = block.block[1]
    assert other.conditions == ["c"]
    assert other.block_vars() == {"v": 1}
    assert other.role is block.imported_role
    assert [role.name for role in play.static_roles()] == ["common", "web"]


def test_a_role_imports_files_of_its_own_tasks_folder(roles) -> None:
    roles.file("roles/web/tasks/main.yml", "- import_tasks: sub/more.yml\n- include_tasks: sub/more.yml\n")
    roles.file("roles/web/tasks/sub/more.yml", "- import_tasks: last.yml\n")
    roles.file("roles/web/tasks/sub/last.yml", "- name: last\n  debug:\n")
    names = [
        entry.name for entry in walk(roles.load("- hosts: all\n  roles: [web]\n").plays[0].roles[0].tasks)
    ]
    assert names == [None, None, "last", None]


def test_a_role_may_import_another_part_of_itself(roles) -> None:
    roles.file("roles/common/tasks/main.yml", "- import_role: {name: common, tasks_from: part}\n")
    roles.file("roles/common/tasks/part.yml", "- name: part\n  debug:\n")
    assert run_order(roles.load("- hosts: all\n  roles: [common]\n")) == ["common : part"]
    roles.file("roles/common/tasks/part.yml", "- import_role: {name: common}\n")
    (problem,) = roles.problems(lambda: roles.load("- hosts: all\n  roles: [common]\n"))
    assert str(problem.mark) == "roles/common/tasks/part.yml:1:23"
    assert problem.message == "the role 'common' imports itself"


def test_include_role_at_run_time(roles) -> None:
    play = roles.tasks("- block:\n    - include_role: {name: web}\n      vars: {v: 1}\n  when: around").plays[
        0
    ]
    (block,) = play.tasks
    (include,) = block.block
    assert isinstance(include, Task)
    role, entries = load_role(include.args, roles.registry, parent=include)
    assert role.name == "web"
    assert [entry.name for entry in entries] == ["common task", "web task"]
    assert entries[1].conditions == ["around"]
    assert entries[1].include_params() == {"v": 1}
    assert play.static_roles() == []


@pytest.mark.parametrize(
    ("files", "entry", "where", "message", "hint"),
    [
        ({}, "wbe", "p.yml:2:11", "there is no role 'wbe'", "did you mean 'web'?"),
        ({}, "{role: web, become: perhaps}", "p.yml:2:31", "'become' must be a boolean", None),
        (
            {},
            "{role: web, static: x}",
            "p.yml:2:23",
            "a role cannot have 'static'",
            "import_tasks",
        ),
        (
            {"vars/main.yml": "- 1\n"},
            "web",
            "roles/web/vars/main.yml:1:1",
            "a mapping of names to values",
            None,
        ),
        (
            {"meta/main.yml": "depends: []\n"},
            "web",
            "roles/web/meta/main.yml:1:1",
            "unknown key 'depends'",
            None,
        ),
        (
            {"meta/main.yml": "[]\n"},
            "web",
            "roles/web/meta/main.yml:1:1",
            "holds a mapping, not a list",
            None,
        ),
        (
            {"meta/main.yml": "dependencies: [none]\n"},
            "web",
            "roles/web/meta/main.yml:1:16",
            "no role 'none'",
            None,
        ),
        (
            {"meta/main.yml": "dependencies: [web]\n"},
            "web",
            "roles/web/meta/main.yml:1:16",
            "imports itself",
            None,
        ),
        (
            {"tasks/main.yml": "a: b\n"},
            "web",
            "roles/web/tasks/main.yml:1:1",
            "must be a list of tasks",
            None,
        ),
        (
            {"defaults/main.yml": "a: b: c\n"},
            "web",
            "roles/web/defaults/main.yml:1:5",
            "not valid YAML",
            None,
        ),
        (
            {"handlers/main.yml": "- coppy:\n"},
            "web",
            "roles/web/handlers/main.yml:1:3",
            "unknown task type",
            None,
        ),
        (
            {"defaults/main.yml": "a: '{{ b'\n"},
            "web",
            "roles/web/defaults/main.yml:1:4",
            "unexpected end",
            None,
        ),
    ],
)
def test_problems_in_roles(roles, files, entry, where, message, hint) -> None:
    for name, text in files.items():
        roles.file(f"roles/web/{name}", text)
    (problem,) = roles.problems(lambda: roles.load(f"- hosts: all\n  roles: [{entry}]\n"))
    assert str(problem.mark) == where
    assert message in problem.message
    if hint:
        assert hint in (problem.hint or "")


def test_a_missing_part_that_was_asked_for(roles) -> None:
    roles.file("roles/web/tasks/install.yml", "- debug:\n")
    (problem,) = roles.problems(lambda: roles.tasks("- import_role: {name: web, tasks_from: instal.yml}"))
    assert problem.message == "the role 'web' has no tasks/instal.yml"
    assert problem.hint == "did you mean 'install.yml'?"


def test_a_parameter_that_looks_like_a_keyword_is_warned_about(roles) -> None:
    playbook = roles.load("- hosts: all\n  roles: [{role: web, tag: x}]\n")
    assert playbook.warnings[0][0] == "'tag' is taken as a parameter of role 'web'; did you mean 'tags'?"


def test_listings(roles) -> None:
    playbook = roles.load(
        "- name: First\n  hosts: web\n  tags: p\n  roles: [web]\n  tasks:\n    - meta: noop\n"
        "    - {name: last, debug: , tags: [z, never]}\n- hosts: [db, '!x']\n  tasks: [{debug: }]\n"
    )
    first, second = list_tasks(playbook)
    assert (first.number, first.name, first.pattern, first.tags) == (1, "First", "web", ("p",))
    assert [(t.section, t.label, t.tags) for t in first.tasks] == [
        ("roles", "common : common task", ("p",)),
        ("roles", "web : web task", ("p",)),
    ]
    assert [task.label for task in list_tasks(playbook, ["z"])[0].tasks] == ["last"]
    assert (second.name, second.pattern) == ("db,!x", "db,!x")
    assert [play.tags for play in list_tags(playbook, ["all", "z"])] == [("never", "p", "z"), ()]
    from labctl.inventory import load

    roles.file("hosts", "[web]\nw1\nw2\n[db]\nx\nd\n")
    assert [play.hosts for play in list_hosts(playbook, load(["hosts"]), "all:!w2")] == [("w1",), ("d",)]


def test_the_role_beside_a_role_is_found(book) -> None:
    book.file("elsewhere/a/meta/main.yml", "dependencies: [b]\n")
    book.file("elsewhere/b/tasks/main.yml", "- name: found\n  debug:\n")
    playbook = book.load("- hosts: all\n  roles: [elsewhere/a]\n")
    assert run_order(playbook) == ["b : found"]
    with pytest.raises(PlaybookError, match="no role 'b'"):
        book.load("- hosts: all\n  roles: [b]\n")
