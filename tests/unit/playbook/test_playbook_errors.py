"""Every problem of a playbook is found before any host is touched, each with its exact position."""

import pytest

from labctl.playbook import PlaybookErrors, load_playbook

# Under "- hosts: all / tasks:", the first line of the text is line 3 and its first column is column 5.
TASKS = [
    # unknown names
    ("- coppy: src=a", "3:7", "unknown task type 'coppy'", "did you mean 'copy'?"),
    ("- copy: {dest: a}\n  whne: x", "4:7", "unknown keyword 'whne' in a task", "did you mean 'when'?"),
    ("- regster: x", "3:7", "unknown keyword 'regster' in a task", "did you mean 'register'?"),
    ("- debug:\n  hosts: x", "4:7", "unknown keyword 'hosts' in a task", "'hosts' belongs to a play"),
    ("- debug:\n  listen: x", "4:7", "unknown keyword 'listen' in a task", "'listen' belongs to a handler"),
    ("- include: a.yml", "3:7", "a task cannot have 'include'", "import_tasks"),
    ("- debug:\n  sudo: yes", "4:7", "a task cannot have 'sudo'", "become: true"),
    ("- debug:\n  5: x", "4:7", "a keyword is a string, not 5", None),
    ("- block: []\n  retrys: 1", "4:7", "unknown keyword 'retrys' in a block", "'retries'"),
    ("- block: []\n  register: r", "4:7", "unknown keyword 'register' in a block", "belongs to a task"),
    ("- block: []\n  copy: x", "4:7", "a block cannot have the action 'copy'", "make it a task"),
    # the action
    ("- name: nothing", "3:7", "a task must name a task type", "command: uptime"),
    (
        "- debug:\n  copy: {dest: a}",
        "4:7",
        "a task has one action, and here are 2: debug, copy",
        "of its own",
    ),
    ("- action: 5", "3:15", "'action' names a task type and its arguments, not the integer 5", None),
    ("- local_action: command ls\n  delegate_to: x", "4:7", "'local_action' and 'delegate_to'", None),
    # shapes
    ("- text", "3:7", "a task must be a mapping, not the string 'text'", None),
    ("-", "3:6", "this task is empty", None),
    ("- rescue: []", "3:7", "'rescue' without a 'block'", None),
    ("- block: {a: b}", "3:14", "'block' must be a list of tasks, not a mapping", "start each with '- '"),
    # arguments
    ("- copy: {sorce: a, dest: b}", "3:14", "'copy' has no argument 'sorce'", "did you mean"),
    ("- copy: sorce=a dest=b", "3:13", "'copy' has no argument 'sorce'", "did you mean"),
    ("- copy: {dest: b, zzz: 1}", "3:23", "'copy' has no argument 'zzz'", "its arguments: src, dest"),
    ("- copy: {src: a}", "3:7", "'copy' needs the argument 'dest'", None),
    ("- copy: {dest: a, path: b}", "3:23", "'path' and 'dest' are the same argument", None),
    ("- copy: {dest: a, src: b, content: c}", "3:31", "'copy' takes only one of: src, content", None),
    ("- copy: {dest: a}\n  args: {dest: b}", "4:14", "argument 'dest' of 'copy' is given twice", None),
    ("- copy: dest=a dest=b", "3:25", "argument 'dest' of 'copy' is given twice", None),
    ("- command:", "3:7", "'command' needs one of: cmd, argv", None),
    (
        "- copy: {dest: a, force: perhaps}",
        "3:30",
        "'force' of 'copy' must be a boolean, not the string 'perhaps'",
        None,
    ),
    ("- copy: dest=a force=perhaps", "3:26", "must be a boolean, not the string 'perhaps'", None),
    ("- copy: {dest: a, size: 1.5}", "3:29", "must be an integer, not the number 1.5", None),
    ("- copy: {dest: a, owners: {b: c}}", "3:31", "must be a list of strings, not a mapping", None),
    ("- copy: {dest: [a]}", "3:20", "'dest' of 'copy' must be a string, not a list", None),
    ("- copy: {dest: a, state: presnt}", "3:30", "must be one of present, absent", "did you mean 'present'?"),
    ("- command: ls\n  args: {_raw_params: ls}", "4:14", "'_raw_params' of 'command' is given twice", None),
    ("- debug: hello", "3:14", "the arguments of 'debug' are names with values, not 'hello'", "msg, var"),
    ("- debug: msg=a b", "3:20", "names with values, not 'b'", None),
    ("- debug: [a]", "3:14", "names with values, not a list", None),
    ("- debug: 5", "3:14", "names with values, not the integer 5", None),
    ('- copy: dest=a content="b', "3:28", 'cannot be split: the quote " is not closed', None),
    ("- copy: >\n    dest={{ a", "4:14", "cannot be split: the template '{{' is not closed", None),
    ("- debug:\n  args: x", "4:13", "'args' must be a mapping, not the string 'x'", None),
    ("- meta: flush_handler", "3:13", "unknown meta action 'flush_handler'", "'flush_handlers'"),
    (
        "- meta: refresh_inventories",
        "3:13",
        "unknown meta action 'refresh_inventories'",
        "'refresh_inventory'",
    ),
    ("- include_tasks: {fiel: a}", "3:23", "'include_tasks' has no argument 'fiel'", "'file'"),
    ("- import_role: {tasks_from: a}", "3:7", "'import_role' needs the argument 'name'", None),
    ("- include_tasks: {file: [a]}", "3:29", "'file' of 'include_tasks' must be a string, not a list", None),
    # keywords' types
    ("- debug:\n  become: maybe", "4:15", "'become' must be a boolean, not the string 'maybe'", None),
    ("- debug:\n  retries: many", "4:16", "'retries' must be an integer, not the string 'many'", None),
    ("- debug:\n  delay: soon", "4:14", "'delay' must be a number, not the string 'soon'", None),
    ("- debug:\n  name: [a]", "4:13", "'name' must be a string, not a list", None),
    (
        "- debug:\n  tags: [a, {b: c}]",
        "4:17",
        "'tags' must be a string or a list of strings, not a mapping",
        None,
    ),
    ("- debug:\n  when: [a, {b: c}]", "4:17", "'when' must be an expression or a list of expressions", None),
    ("- debug:\n  when: ''", "4:13", "'when' must be an expression", None),
    ("- debug:\n  vars: [a]", "4:13", "'vars' must be a mapping, not a list", None),
    ("- debug:\n  vars: {a-b: 1}", "4:14", "'a-b' cannot be the name of a variable", "letters"),
    ("- debug:\n  register: 1x", "4:17", "'register' must be the name of a variable", None),
    (
        "- debug:\n  environment: A=b",
        "4:20",
        "'environment' must be a mapping of environment variables",
        None,
    ),
    ("- debug:\n  become_method: doas", "4:22", "'become_method' must be one of sudo, su", None),
    ("- debug:\n  connection: sssh", "4:19", "'connection' must be one of ssh, local", "'ssh'"),
    # loops
    ("- debug:\n  loop: items", "4:13", "'loop' must be a list, not the string 'items'", "{{ name }}"),
    ("- debug:\n  loop:", "4:7", "'loop' needs a list", None),
    ("- debug:\n  with_itms: [1]", "4:7", "unknown kind of loop 'with_itms'", "did you mean 'with_items'?"),
    ("- debug:\n  loop: [1]\n  with_items: [1]", "5:7", "'loop' and 'with_items' in one task", None),
    ("- debug:\n  with_dict: {}\n  with_items: [1]", "5:7", "'with_dict' and 'with_items' in one task", None),
    ("- debug:\n  with_items:", "4:7", "'with_items' needs a value", None),
    (
        "- debug:\n  loop_control: {loopvar: x}",
        "4:22",
        "unknown keyword 'loopvar' in loop_control",
        "'loop_var'",
    ),
    ("- debug:\n  loop_control: {loop_var: 1x}", "4:32", "'loop_var' must be the name of a variable", None),
    # imports and includes
    ("- import_tasks: zzzz.yml", "3:21", "the task file 'zzzz.yml' does not exist", "looked in: "),
    ("- include_tasks: p.ylm", "3:22", "the task file 'p.ylm' does not exist", "did you mean 'p.yml'?"),
    (
        "- import_tasks: '{{ x }}.yml'",
        "3:25",
        "'import_tasks' needs its name before the run: 'x' is undefined",
        None,
    ),
    ("- import_role: {name: none}", "3:27", "there is no role 'none'", "looked in: roles, "),
    ("- include_role: {name: none}", "3:28", "there is no role 'none'", "looked in: roles, "),
    (
        "- import_tasks: one.yml\n  loop: [1]",
        "4:7",
        "'loop' has no effect on 'import_tasks'",
        "include_tasks can",
    ),
    (
        "- include_tasks: '{{ x }}'\n  become: true",
        "4:7",
        "'become' has no effect on 'include_tasks'",
        "apply",
    ),
    ("- include_tasks: {file: '{{ x }}', apply: 5}", "3:47", "'apply' must be a mapping of keywords", None),
    (
        "- include_tasks: {file: '{{ x }}', apply: {loop: [1]}}",
        "3:48",
        "unknown keyword 'loop' in apply",
        None,
    ),
    # notifications
    ("- debug:\n  notify: [none]", "4:16", "no handler of this play is called 'none'", None),
    # templates
    ("- debug: {msg: '{{ a | }}'}", "3:20", "expected token 'name', got 'end of print statement'", None),
    ("- debug: {msg: ['{{ a'] }", "3:21", "unexpected end of template", None),
    ("- debug:\n  when: a ==", "4:13", "unexpected 'end of template'", None),
    ("- debug:\n  when: [a, 'b b']", "4:17", "unexpected 'b'", None),
    ("- debug: {var: 'a +'}", "3:20", "unexpected 'end of template'", None),
    ("- debug: {msg: '{{ a | no_such_filter }}'}", "3:20", "no_such_filter", None),
    ("- debug:\n  vars: {a: '{% if %}'}", "4:17", "Expected an expression", None),
    ("- debug:\n  name: '{{ }}'", "4:13", "Expected an expression", None),
    ("- debug: {msg: '{% nope %}'}", "3:20", "unknown tag 'nope'", None),
    (
        "- debug:\n    msg: |\n      fine\n      {{ a b }}",
        "6:11",
        "expected token 'end of print statement'",
        None,
    ),
]


@pytest.mark.parametrize(("text", "where", "message", "hint"), TASKS)
def test_one_problem_of_a_task(book, text, where, message, hint) -> None:
    book.file("one.yml", "- debug:\n")
    (problem,) = book.problems(lambda: book.tasks(text))
    assert message in problem.message
    assert str(problem.mark) == f"p.yml:{where}"
    if hint:
        assert hint in (problem.hint or "")


PLAYS = [
    ("- hosts: all\n  gather_fact: no", "2:3", "unknown keyword 'gather_fact' in a play", "'gather_facts'"),
    ("- hosts: all\n  when: x", "2:3", "unknown keyword 'when' in a play", "belongs to a block or a task"),
    ("- name: x", "1:3", "this play names no hosts", "hosts: all"),
    ("- hosts:", "1:3", "this play names no hosts", None),
    ("- hosts: ''", "1:10", "'hosts' must be a host pattern", None),
    ("- hosts: {a: b}", "1:10", "'hosts' must be a string or a list of strings", None),
    ("- hosts: all\n  strategy: liner", "2:13", "'strategy' must be one of linear", "'linear'"),
    ("- hosts: all\n  order: random", "2:10", "'order' must be one of inventory", None),
    ("- hosts: all\n  serial: [1, few]", "2:15", "'serial' must be a number, a percentage", None),
    ("- hosts: all\n  tasks: {debug: }", "2:10", "'tasks' must be a list of tasks, not a mapping", None),
    ("- hosts: all\n  roles: common", "2:10", "'roles' must be a list of roles", None),
    ("- hosts: all\n  roles: [none]", "2:11", "there is no role 'none'", "looked in: roles, "),
    ("- hosts: all\n  roles: [5]", "2:11", "a role is a name or a mapping, not the integer 5", None),
    ("- hosts: all\n  roles: [{tags: x}]", "2:11", "this role has no name", None),
    (
        "- hosts: all\n  vars_files: [none.yml]",
        "2:16",
        "the file of variables 'none.yml' does not exist",
        None,
    ),
    (
        "- hosts: all\n  vars_files: [5]",
        "2:15",
        "'vars_files' must be a list of files, not the integer 5",
        None,
    ),
    ("- hosts: all\n  vars_prompt: [{prompt: x}]", "2:17", "a prompt must name its variable", None),
    (
        "- hosts: all\n  vars_prompt: [{name: a, encrypt: sha512crypt}]",
        "2:36",
        "unknown scheme 'sha512crypt'",
        "'sha512_crypt'",
    ),
    ("- hosts: all\n  vars_prompt: [{name: a, promt: x}]", "2:27", "unknown key 'promt'", "'prompt'"),
    ("- hosts: all\n  module_defaults: {coppy: {}}", "2:21", "unknown task type 'coppy'", "'copy'"),
    ("- hosts: all\n  handlers: [{block: []}]", "2:14", "a handler cannot be a block", None),
    ("- hosts: '{{ a'", "1:10", "unexpected end of template", None),
    ("- import_playbook: none.yml", "1:20", "the playbook 'none.yml' does not exist", None),
    ("- import_playbook: p.yml", "1:20", "the playbook 'p.yml' imports itself", None),
    ("- import_playbook: [x]", "1:20", "'import_playbook' must be a string", None),
    ("- import_playbook: play.yml\n  hosts: x", "2:3", "unknown keyword 'hosts' in import_playbook", None),
    ("- 5", "1:3", "a play must be a mapping, not the integer 5", None),
    ("hosts: all", "1:1", "a playbook is a list of plays, not a mapping", None),
    ("", "1:1", "a playbook is a list of plays, not nothing", None),
    ("[]", "1:1", "this playbook holds no plays", None),
    ("- hosts: all\n  hosts: web", "2:3", "key 'hosts' stands twice", None),
    ("- hosts: all\n  name: a: b", "2:10", "not valid YAML", "quoted"),
    ("- hosts: all\n  tasks:\n\t- debug:", "3:1", "not valid YAML", "spaces, not tabs"),
]


@pytest.mark.parametrize(("text", "where", "message", "hint"), PLAYS)
def test_one_problem_of_a_play(book, text, where, message, hint) -> None:
    book.file("play.yml", "- hosts: all\n")
    (problem,) = book.problems(lambda: book.load(text))
    assert message in problem.message
    assert str(problem.mark) == f"p.yml:{where}"
    if hint:
        assert hint in (problem.hint or "")


def test_all_problems_at_once_in_the_order_of_their_positions(book) -> None:
    book.file("sub.yml", "- debug: {mgs: 1}\n")
    text = "- hosts: all\n  gather_fact: no\n  tasks:\n    - coppy:\n    - import_tasks: sub.yml\n    - debug: {msg: '{{ a | }}'}\n"
    with pytest.raises(PlaybookErrors) as caught:
        book.load(text)
    assert [str(problem.mark) for problem in caught.value.problems] == [
        "p.yml:2:3",
        "p.yml:4:7",
        "p.yml:6:20",
        "sub.yml:1:11",
    ]
    report = caught.value.report()
    assert "    4 |     - coppy:\n      |       ^\nhint: did you mean 'copy'?" in report
    assert report.endswith("4 problems; no host was touched")
    assert caught.value.exit_code == 6


def test_a_notified_name_is_found_among_roles_topics_and_templates(book) -> None:
    book.file("roles/r/handlers/main.yml", "- {name: of role, debug: , listen: topic}\n")
    book.file("roles/dyn/handlers/main.yml", "- {name: of dynamic role, debug: }\n")
    playbook = book.load(
        "- hosts: all\n  roles: [r]\n  tasks:\n    - include_role: {name: dyn}\n    - debug:\n      notify:\n"
        "        - of role\n        - 'r : of role'\n        - topic\n        - restart nginx\n        - '{{ x }}'\n"
        "        - of dynamic role\n"
        "  handlers:\n    - {name: 'restart {{ x }}', debug: }\n"
    )
    assert len(playbook.plays) == 1
    (problem,) = book.problems(
        lambda: book.tasks("- debug:\n  notify: Restrt", "  handlers: [{name: Restart, debug: }]\n")
    )
    assert problem.hint == "did you mean 'Restart'?"


def test_a_role_only_known_at_run_time_may_bring_any_handler(book) -> None:
    book.tasks("- include_role: {name: '{{ x }}'}\n- debug:\n  notify: anything")


def test_what_dynamic_includes_name_is_checked_too(book) -> None:
    book.file("inc.yml", "- include_tasks: inc.yml\n  when: again\n- debug: {mgs: 1}\n")
    book.file("roles/r/tasks/main.yml", "- debug:\n  notify: none\n")
    problems = book.problems(lambda: book.tasks("- include_tasks: inc.yml\n- include_role: {name: r}\n"))
    assert [str(problem.mark) for problem in problems] == ["inc.yml:3:11", "roles/r/tasks/main.yml:2:11"]


def test_templates_and_secrets_are_not_judged_before_the_run(book) -> None:
    book.tasks(
        "- copy: {dest: '{{ d }}', force: '{{ f }}', owners: ['{{ o }}'], size: '{{ s }}', state: '{{ s }}'}\n"
        "- debug: {msg: !unsafe '{{ a | }}'}\n"
        "- copy: {dest: a, force: !vault '6130'}\n  become: '{{ b }}'\n  retries: '{{ r }}'\n"
    )


def test_the_same_problem_is_said_once(book) -> None:
    book.file("roles/r/tasks/main.yml", "- debug: {mgs: 1}\n")
    problems = book.problems(
        lambda: book.load("- hosts: all\n  roles: [r, {role: r, x: 1}, {role: r, x: 2}]\n")
    )
    assert len(problems) == 1


def test_a_file_that_imports_itself(book) -> None:
    book.file("a.yml", "- import_tasks: b.yml\n")
    book.file("b.yml", "- import_tasks: a.yml\n")
    (problem,) = book.problems(lambda: book.tasks("- import_tasks: a.yml"))
    assert str(problem.mark) == "b.yml:1:3"
    assert problem.message == "the task file 'a.yml' imports itself"


def test_a_playbook_where_tasks_are_needed(book) -> None:
    book.file("o.yml", "- hosts: all\n  tasks: []\n")
    (problem,) = book.problems(lambda: book.tasks("- import_tasks: o.yml"))
    assert "holds plays" in problem.message


def test_a_missing_playbook(book) -> None:
    (problem,) = book.problems(lambda: load_playbook("p.ym", book.registry))
    assert problem.message == "the playbook 'p.ym' does not exist"
    book.file("p.yml", "")
    (problem,) = book.problems(lambda: load_playbook("p.ym", book.registry))
    assert problem.hint == "did you mean 'p.yml'?"
    (problem,) = book.problems(lambda: load_playbook("tasks", book.registry))
    assert "is a folder" in problem.message


def test_a_task_type_that_cannot_be_loaded_is_a_problem_of_the_playbook(book) -> None:
    book.file("tasks/broken.py", "import nothing_of_that_name\n")
    (problem,) = book.problems(lambda: book.tasks("- broken:"))
    assert "tasks/broken.py: this task type cannot be loaded" in problem.message
