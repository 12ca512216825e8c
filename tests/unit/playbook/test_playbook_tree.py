"""What a playbook becomes: every syntax of a task, blocks, inheritance, imports."""

import pytest

from labctl.errors import Mark
from labctl.playbook import Block, Handler, Task, load_tasks, select_handlers, strings, walk
from labctl.yaml import Text


def only_task(playbook) -> Task:
    (task,) = playbook.plays[0].tasks
    assert isinstance(task, Task)
    return task


@pytest.mark.parametrize(
    ("text", "action", "args"),
    [
        ("- copy: {src: a, dest: b}", "copy", {"src": "a", "dest": "b"}),
        ("- copy: src=a dest='b c'", "copy", {"src": "a", "dest": "b c"}),
        (
            "- copy: src=a dest=\"{{ x | default('a b') }}/c\"",
            "copy",
            {"src": "a", "dest": "{{ x | default('a b') }}/c"},
        ),
        ("- copy: dest=a content='x\\ny=1'", "copy", {"dest": "a", "content": "x\ny=1"}),
        ("- ansible.builtin.copy: {dest: b}", "copy", {"dest": "b"}),
        ("- labctl.copy:\n    dest: b", "copy", {"dest": "b"}),
        ("- copy: src=a\n  args: {dest: b}", "copy", {"src": "a", "dest": "b"}),
        ("- action: copy src=a dest=b", "copy", {"src": "a", "dest": "b"}),
        ("- action: {module: copy, src: a, dest: b}", "copy", {"src": "a", "dest": "b"}),
        ("- command: make install", "command", {"cmd": "make install"}),
        ("- command: make 'a b'  x=1 chdir=/src", "command", {"cmd": "make 'a b'  x=1", "chdir": "/src"}),
        ("- command: chdir=/src make", "command", {"cmd": "make", "chdir": "/src"}),
        ("- command: echo it's", "command", {"cmd": "echo it's"}),
        ("- command: |\n    a\n      b\n  args: {chdir: /}", "command", {"cmd": "a\n  b", "chdir": "/"}),
        ("- command: 5", "command", {"cmd": "5"}),
        ("- command: {cmd: ls, chdir: /}", "command", {"cmd": "ls", "chdir": "/"}),
        ("- command: {_raw_params: ls, chdir: /}", "command", {"cmd": "ls", "chdir": "/"}),
        ("- command:\n  args: {_raw_params: ls}", "command", {"cmd": "ls"}),
        ("- debug:", "debug", {}),
        ("- debug: msg=hi", "debug", {"msg": "hi"}),
        ("- set_fact: a=1 b='{{ c }}'", "set_fact", {"a": "1", "b": "{{ c }}"}),
        ("- set_fact: {a: 1}", "set_fact", {"a": 1}),
        ("- meta: flush_handlers", "meta", {"action": "flush_handlers"}),
        ("- include_vars: x.yml", "include_vars", {"file": "x.yml"}),
        ("- include_tasks: '{{ x }}.yml'", "include_tasks", {"file": "{{ x }}.yml"}),
        ("- include_tasks: {file: '{{ x }}'}", "include_tasks", {"file": "{{ x }}"}),
        ("- include_tasks: file={{ x }}", "include_tasks", {"file": "{{ x }}"}),
        ("- include_tasks: {_raw_params: '{{ x }}'}", "include_tasks", {"file": "{{ x }}"}),
    ],
)
def test_every_syntax_of_a_task(book, text, action, args) -> None:
    task = only_task(book.tasks(text))
    assert (task.action, task.args) == (action, args)
    assert task.mark == Mark("p.yml", 3, 7)
    assert (task.task_type is None) == (action in ("meta", "include_vars", "include_tasks"))


def test_local_action_is_delegated_to_localhost(book) -> None:
    task = only_task(book.tasks("- local_action: command ls"))
    assert (task.action, task.args, task.delegate_to) == ("command", {"cmd": "ls"}, "localhost")


def test_arguments_of_the_short_form_know_where_they_stand(book) -> None:
    task = only_task(book.tasks('- copy: src=a dest="b c"\n'))
    assert str(task.arg_mark("src")) == "p.yml:3:17"
    assert str(task.arg_mark("dest")) == "p.yml:3:24"
    assert str(task.arg_mark("")) == "p.yml:3:7"
    assert task.args["dest"].mark == task.arg_mark("dest")
    folded = only_task(book.tasks("- copy: >\n    src=a\n    dest=b\n"))
    assert str(folded.arg_mark("src")) == "p.yml:4:13"


def test_keywords_of_a_task(book) -> None:
    task = only_task(
        book.tasks(
            "- name: n\n  command: ls\n  register: r\n  when: a and b\n  until: r.rc == 0\n  retries: 3\n  delay: 0.5\n"
            "  changed_when: false\n  failed_when: [a, b]\n  tags: x, y\n  become: yes\n  become_user: joe\n"
            "  async: 10\n  poll: 0\n  environment: {A: b}\n  no_log: '{{ secret }}'\n  notify: h\n"
            "  loop: [1, 2]\n  loop_control: {loop_var: i, label: '{{ i }}', pause: 1}\n  throttle: 2\n  timeout: 5\n",
            "  handlers:\n  - {name: h, debug: }\n",
        )
    )
    assert (task.name, task.register, task.when, task.until) == ("n", "r", ["a and b"], ["r.rc == 0"])
    assert (task.retries, task.delay, task.changed_when, task.failed_when) == (3, 0.5, [False], ["a", "b"])
    assert (task.tags, task.become, task.become_user) == (["x", "y"], True, "joe")
    assert (task.async_, task.poll, task.environment, task.no_log) == (10, 0, [{"A": "b"}], "{{ secret }}")
    assert (task.notify, task.loop, task.loop_kind, task.throttle, task.timeout) == (
        ["h"],
        [1, 2],
        None,
        2,
        5,
    )
    assert task.loop_control is not None
    assert (task.loop_control.loop_var, task.loop_control.label) == ("i", "{{ i }}")
    assert str(task.mark_of("until")) == "p.yml:9:14"
    assert task.mark_of("vars") == task.mark


def test_with_loops(book) -> None:
    task = only_task(book.tasks("- debug:\n  with_items: '{{ x }}'"))
    assert (task.loop, task.loop_kind) == ("{{ x }}", "items")
    assert str(task.mark_of("loop")) == "p.yml:4:19"


INHERITANCE = """\
- hosts: all
  tags: play
  become: true
  vars: {v: play, p: 1}
  environment: {A: play, B: play}
  tasks:
    - block:
        - block:
            - name: t
              debug:
              when: inner
              tags: [own, play]
              become: false
              vars: {t: 1}
              environment: {A: task}
          when: [middle1, middle2]
          become_user: joe
          vars: {v: inner}
          ignore_errors: true
      rescue:
        - debug: msg=rescue
      always:
        - debug: msg=always
      when: outer
      tags: block
      vars: {v: outer, o: 1}
      become_user: ann
"""


def test_inheritance(book) -> None:
    play = book.load(INHERITANCE).plays[0]
    (outer,) = play.tasks
    assert isinstance(outer, Block)
    (inner,) = outer.block
    assert isinstance(inner, Block)
    (task,) = inner.block
    assert task.conditions == ["outer", "middle1", "middle2", "inner"]
    assert task.all_tags() == ["own", "play", "block"]
    assert task.block_vars() == {"v": "inner", "o": 1, "t": 1}
    assert play.play_vars() == {"v": "play", "p": 1}
    assert (task.inherited("become"), task.inherited("become_user")) == (False, "joe")
    assert task.environments == [{"A": "play", "B": "play"}, {"A": "task"}]
    assert task.inherited("ignore_errors") is True
    assert task.inherited("no_log", "nothing") == "nothing"
    assert str(task.inherited_mark("become_user")) == "p.yml:17:24"
    assert task.play is play
    assert [e.args.get("msg") for e in walk(play.tasks) if isinstance(e, Task)] == [None, "rescue", "always"]
    assert [len(part) for part in (outer.block, outer.rescue, outer.always)] == [1, 1, 1]


def test_a_block_can_loop_and_be_retried(book) -> None:
    (block,) = (
        book.tasks("- block:\n    - debug:\n  loop: [1]\n  until: x\n  retries: 2\n  delay: 1").plays[0].tasks
    )
    assert isinstance(block, Block)
    assert (block.loop, block.until, block.retries, block.delay) == ([1], ["x"], 2, 1)
    (again,) = book.tasks("- block: []\n  with_dict: {a: 1}").plays[0].tasks
    assert (again.loop, again.loop_kind) == ({"a": 1}, "dict")


def test_keywords_of_a_play(book) -> None:
    play = book.load(
        "- name: n\n  hosts: [web, '!db']\n  gather_facts: no\n  serial: [1, '30%']\n  strategy: free\n"
        "  order: sorted\n  max_fail_percentage: 30\n  force_handlers: true\n  vars_files: [a.yml, [b.yml, a.yml]]\n"
        if book.file("a.yml", "x: 1\n")
        else None
    ).plays[0]
    assert (play.hosts, play.gather_facts, play.serial) == (["web", "!db"], False, [1, "30%"])
    assert (play.strategy, play.order, play.max_fail_percentage, play.force_handlers) == (
        "free",
        "sorted",
        30,
        True,
    )
    assert play.vars_files == ["a.yml", ["b.yml", "a.yml"]]


def test_module_defaults_reach_tasks_below_and_give_way_to_their_own_arguments(book) -> None:
    task = only_task(
        book.tasks("- copy: {dest: own}", "  module_defaults: {ansible.builtin.copy: {dest: d, src: s}}\n")
    )
    assert task.args == {"dest": "own", "src": "s"}
    renamed = book.tasks("- copy: {path: own}", "  module_defaults: {copy: {dest: d, src: s}}\n")
    assert only_task(renamed).args == {"path": "own", "src": "s"}


def test_imported_tasks_stand_in_a_block_with_the_keywords_of_the_import(book) -> None:
    book.file("sub/a.yml", "- debug: msg={{ v }}\n  when: own\n- import_tasks: b.yml\n")
    book.file("sub/b.yml", "- name: deep\n  debug:\n")
    play = book.tasks("- import_tasks: sub/a.yml\n  when: c\n  tags: t\n  vars: {v: 1}\n").plays[0]
    (block,) = play.tasks
    assert isinstance(block, Block)
    assert block.source == "sub/a.yml"
    first, nested = block.block
    assert first.conditions == ["c", "own"]
    assert first.block_vars() == {"v": 1}
    assert str(first.mark) == "sub/a.yml:1:3"
    (deep,) = nested.block
    assert deep.conditions == ["c"]
    assert deep.all_tags() == ["t"]


def test_a_name_to_import_may_use_what_is_known_before_the_run(book) -> None:
    book.file("debian.yml", "- debug:\n")
    text = "- hosts: all\n  vars: {os: debian}\n  tasks:\n    - import_tasks: '{{ os }}.yml'\n"
    assert book.load(text).plays[0].tasks[0].source == "debian.yml"
    assert book.load(text.replace("{{ os }}", "{{ e }}"), extra_vars={"e": "debian"}).plays[0].tasks


def test_imported_playbooks_hand_down_when_tags_and_vars(book) -> None:
    book.file(
        "other/o.yml", "- hosts: web\n  vars: {x: own, z: 1}\n  tasks:\n    - debug:\n      when: own\n"
    )
    first, second = book.load(
        "- import_playbook: other/o.yml\n  when: c\n  tags: t\n  vars: {x: import, y: 1}\n- hosts: db\n"
    ).plays
    assert (str(first.dir), str(second.dir)) == ("other", ".")
    (task,) = first.tasks
    assert task.conditions == ["c", "own"]
    assert task.all_tags() == ["t"]
    assert first.play_vars() == {"x": "import", "y": 1, "z": 1}
    assert second.conditions == []


def test_handlers_by_name_and_by_topic_and_the_first_of_a_list(book) -> None:
    play = book.tasks(
        "- debug:\n  notify: [one, topic]",
        "  handlers:\n  - {name: one, debug: {msg: 1}}\n  - {name: one, debug: {msg: 2}}\n"
        "  - {name: two, debug: , listen: topic}\n  - {name: three, debug: , listen: [topic, one]}\n",
    ).plays[0]
    assert all(isinstance(handler, Handler) for handler in play.handlers())
    assert [h.args.get("msg") or h.name for h in select_handlers(play.handlers(), "one")] == [1, "three"]
    assert [h.name for h in select_handlers(play.handlers(), "topic")] == ["two", "three"]
    assert select_handlers(play.handlers(), "other") == []


def test_tasks_included_at_run_time_inherit_from_around_the_include(book) -> None:
    book.file("inc.yml", "- name: inside\n  debug: {msg: '{{ v }}'}\n  when: own\n")
    play = book.tasks(
        "- block:\n    - include_tasks: {file: inc.yml, apply: {become: true, tags: applied}}\n"
        "      when: not_handed_down\n      tags: not_either\n      vars: {v: 1}\n  when: around\n  tags: b"
    ).plays[0]
    (block,) = play.tasks
    (include,) = block.block
    assert include.dynamic
    (top,) = load_tasks("inc.yml", book.registry, parent=include, params={"item": 5})
    (task,) = [entry for entry in walk([top]) if isinstance(entry, Task)]
    assert task.conditions == ["around", "own"]
    assert task.all_tags() == ["applied", "b"]
    assert task.inherited("become") is True
    assert task.include_params() == {"v": 1}
    assert task.block_vars() == {"item": 5}
    (plain,) = load_tasks("inc.yml", book.registry, parent=only_task(book.tasks("- include_tasks: inc.yml")))
    assert isinstance(plain, Task)
    assert plain.conditions == ["own"]


def test_tasks_included_at_run_time_are_checked_like_a_playbook(book) -> None:
    include = only_task(book.tasks("- include_tasks: '{{ x }}'"))
    book.file("inc.yml", "- coppy:\n- debug: {mgs: 1}\n")
    found = book.problems(lambda: load_tasks("inc.yml", book.registry, parent=include))
    assert [str(problem.mark) for problem in found] == ["inc.yml:1:3", "inc.yml:2:11"]
    (missing,) = book.problems(lambda: load_tasks("ink.yml", book.registry, parent=include))
    assert missing.hint == "did you mean 'inc.yml'?"


def test_every_string_is_found_with_its_place(book) -> None:
    book.file("inc.yml", "- debug: {msg: 'S-included'}\n")
    playbook = book.load(
        "- hosts: S-hosts\n  name: S-play\n  vars: {a: [S-var]}\n  tasks:\n"
        "    - block:\n"
        "        - debug: {var: S-raw}\n          changed_when: S-changed\n"
        "          loop: [S-loop]\n          loop_control: {label: S-label}\n"
        "        - include_tasks: inc.yml\n"
        "      when: S-when\n      environment: {X: S-env}\n"
        "  handlers:\n    - {name: S-handler, debug: }\n"
    )
    found = {str(text): place for text, place in strings(playbook) if text.startswith("S-")}
    assert {text: (place.what, place.expression) for text, place in found.items()} == {
        "S-hosts": ("hosts", False),
        "S-play": ("name", False),
        "S-var": ("vars", False),
        "S-raw": ("argument 'var'", True),
        "S-changed": ("changed_when", True),
        "S-loop": ("loop", False),
        "S-label": ("label", False),
        "S-when": ("when", True),
        "S-env": ("environment", False),
        "S-included": ("argument 'msg'", False),
        "S-handler": ("name", False),
    }
    assert all(isinstance(text, Text) for text, _place in strings(playbook))


def test_an_expression_written_as_a_template_is_accepted_with_a_warning(book) -> None:
    playbook = book.tasks("- debug:\n  when: '{{ x }}'")
    ((message, mark),) = playbook.warnings
    assert message == "'when' is an expression already: write it without '{{ }}'"
    assert str(mark) == "p.yml:4:13"
