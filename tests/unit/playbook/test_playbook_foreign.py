"""Task types that Ansible has and labctl has not."""

from __future__ import annotations

import pytest

from labctl.errors import PlaybookError
from labctl.playbook import load_playbook, walk
from labctl.task_types import Registry


def _load(tmp_path, text: str, **files: str):
    for name, content in {"play.yml": text, **files}.items():
        (tmp_path / name.replace("__", ".")).write_text(content)
    return load_playbook(str(tmp_path / "play.yml"), Registry())


@pytest.mark.parametrize(
    "name", ["dnf", "ansible.builtin.yum_repository", "community.docker.docker_container"]
)
def test_a_task_type_of_another_system_is_read_with_a_warning(tmp_path, name):
    book = _load(
        tmp_path, f"- hosts: h\n  tasks:\n    - {name}: {{name: x, state: present}}\n      when: false\n"
    )
    (task,) = walk(book.plays[0].tasks)
    assert task.args == {"name": "x", "state": "present"}
    assert any(f"labctl has no task type '{name}'" in said for said, _mark in book.warnings)


def test_a_name_nobody_knows_is_an_error(tmp_path):
    with pytest.raises(PlaybookError, match="unknown task type 'coppy'"):
        _load(tmp_path, "- hosts: h\n  tasks:\n    - coppy: {src: a, dest: b}\n")


def test_in_a_file_that_may_never_be_included_it_is_none(tmp_path):
    book = _load(
        tmp_path,
        "- hosts: h\n  tasks:\n    - include_tasks: other.yml\n      when: ansible_os_family == 'Arch'\n",
        other__yml="- locale_gen: {name: x}\n",
    )
    assert not book.warnings


@pytest.mark.parametrize("name", ["ansible.posix.mount", "ansible.builtin.copy", "copy"])
def test_a_collections_name_of_a_task_type_labctl_has_is_taken(name):
    assert Registry().get(name).name == name.rsplit(".", 1)[-1]


def test_a_collections_filter_is_a_warning_until_it_is_reached(tmp_path):
    book = _load(tmp_path, "- hosts: h\n  tasks:\n    - debug: {msg: '{{ 1 | ansible.utils.ipaddr }}'}\n")
    (said,) = (said for said, _mark in book.warnings)
    assert "No filter named 'ansible.utils.ipaddr'" in said


def test_a_filter_nobody_knows_is_an_error(tmp_path):
    with pytest.raises(PlaybookError, match="No filter named 'defalt'"):
        _load(tmp_path, "- hosts: h\n  tasks:\n    - debug: {msg: '{{ 1 | defalt(2) }}'}\n")


@pytest.mark.parametrize(
    "task",
    [
        "- {copy: {content: x}, ignore_errors: true}",
        "- {copy: {content: x}, ignore_errors: '{{ x }}'}",
        "- {copy: {content: x, nothing: 1}, register: r, failed_when: false}",
        "- {include_tasks: nowhere.yml, ignore_errors: true}",
        "- {block: [{debug: {msg: '{{ 1 | defalt(2) }}'}}], rescue: [{debug: }]}",
        "- {block: [{block: [{ping: {nothing: 1}}]}], rescue: [{debug: }]}",
    ],
)
def test_what_is_wrong_with_a_task_that_may_fail_is_a_warning(tmp_path, task):
    book = _load(tmp_path, f"- hosts: h\n  tasks:\n    {task}\n")
    assert any("a host that reaches this task fails" in said for said, _mark in book.warnings)


@pytest.mark.parametrize(
    "task",
    [
        "- {copy: {content: x}, ignore_errors: false}",
        "- {block: [{debug: }], rescue: [{copy: {content: x}}]}",
        "- {block: [{copy: {content: x}}], always: [{debug: }]}",
    ],
)
def test_nobody_pardons_a_task_beside_what_may_fail(tmp_path, task):
    with pytest.raises(PlaybookError, match="'copy' needs the argument 'dest'"):
        _load(tmp_path, f"- hosts: h\n  tasks:\n    {task}\n")


def test_a_template_that_compiles_to_no_python_is_an_error_with_its_place(tmp_path):
    text = "- hosts: h\n  tasks:\n    - debug: {msg: '{{ 1 | default(default=1, default=2) }}'}\n"
    with pytest.raises(PlaybookError, match="keyword argument repeated") as found:
        _load(tmp_path, text)
    assert found.value.mark.line == 3


def test_of_two_arguments_that_exclude_one_another_one_may_be_omitted(tmp_path):
    text = "{{ given | default(omit) }}"
    load = f"- hosts: h\n  tasks:\n    - copy: {{dest: /x, content: '{text}', src: '{text}'}}\n"
    assert _load(tmp_path, load)
    with pytest.raises(PlaybookError, match="'copy' takes only one of"):
        _load(tmp_path, load.replace(" | default(omit)", ""))


def test_a_collections_role_is_a_warning_until_it_is_reached(tmp_path):
    task = "- {include_role: {name: some.collection.firewall}, when: false}"
    book = _load(tmp_path, f"- hosts: h\n  tasks:\n    {task}\n")
    assert any("there is no role 'some.collection.firewall'" in said for said, _mark in book.warnings)
    with pytest.raises(PlaybookError, match="there is no role"):
        _load(tmp_path, f"- hosts: h\n  tasks:\n    {task.replace('some.collection.', '')}\n")
