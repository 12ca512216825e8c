"""Names a playbook uses that nothing gives, and values it gives that nothing uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from labctl.inventory import load
from labctl.playbook import load_playbook
from labctl.playbook.names import Names
from labctl.task_types import Registry


@pytest.fixture
def names(tmp_path: Path):
    def make(text: str, **files: str) -> Names:
        for name, content in {"play.yml": text, "hosts": "h known_to_host=1\n", **files}.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        book = load_playbook(str(tmp_path / "play.yml"), Registry())
        return Names(book, load([str(tmp_path / "hosts")]))

    return make


def _said(found) -> list[str]:
    return [f"{mark.line}: {message}" for message, mark in found]


def test_a_misspelt_name_is_said_with_the_nearest(names):
    found = names("""\
- hosts: h
  vars: {greeting: hello}
  tasks:
    - debug: {msg: "{{ greting }} {{ known_to_host }}"}
""")
    assert _said(found.unknown()) == [
        "4: nothing gives the variable 'greting' a value; did you mean 'greeting'?"
    ]


@pytest.mark.parametrize(
    "task",
    [
        "debug: {msg: '{{ later | default(1) }}'}",
        "{debug: {msg: '{{ later }}'}, when: later is defined}",
        "{command: 'true', register: later}",
        "{set_fact: {later: 1}}",
        "{debug: {msg: '{{ later }}'}, loop: [1], loop_control: {loop_var: later}}",
        "{debug: {msg: '{% set later = 1 %}{{ later }}'}}",
        '{debug: {msg: \'{{ ansible_hostname }} {{ inventory_hostname }} {{ lookup("env", "X") }}\'}}',
        "{include_vars: '{{ known_to_host }}.yml'}",
        "{debug: {msg: '{{ later }}'}, vars: {later: 1}}",
    ],
)
def test_names_that_something_may_give_are_left_alone(names, task):
    found = names(
        f"- hosts: h\n  tasks:\n    - {task}\n    - debug: {{msg: '{{{{ later | default(0) }}}}'}}\n"
    )
    assert _said(found.unknown()) == []


def test_variables_of_an_added_host_are_given(names):
    found = names("""\
- hosts: h
  tasks:
    - add_host: {name: dyn, groups: new, colour: red}
- hosts: new
  tasks:
    - debug: {msg: "{{ colour }}"}
""")
    assert _said(found.unknown()) == []


def test_names_in_conditions_and_roles_count(names):
    found = names(
        "- hosts: h\n  roles: [r]\n",
        roles__r__tasks__main_yml="[]\n",
        **{
            "roles/r/tasks/main.yml": "- debug: {msg: x}\n  when: wanted and not unwnted\n",
            "roles/r/defaults/main.yml": "wanted: true\nunwanted: false\n",
        },
    )
    assert _said(found.unknown()) == [
        "2: nothing gives the variable 'unwnted' a value; did you mean 'unwanted'?"
    ]


def test_values_nothing_uses_are_said(names):
    found = names(
        """\
- hosts: h
  vars: {used: 1, in_template: 2, idle: 3, ansible_user: root}
  tasks:
    - set_fact: {made: 1, spare: 2}
    - debug: {msg: "{{ used + made }}"}
    - template: {src: t.j2, dest: /tmp/t}
""",
        **{"templates/t.j2": "{{ in_template }}\n"},
    )
    assert _said(found.unused()) == [
        "2: the variable 'idle' is given a value that nothing uses",
        "4: the variable 'spare' is given a value that nothing uses",
    ]
