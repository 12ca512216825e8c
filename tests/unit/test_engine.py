"""Order of tasks, hosts and handlers; registers; what the recap counts. As Ansible has it."""

from __future__ import annotations

import json

import pytest

from labctl.errors import PlaybookError
from labctl.events import Kind

HEAD = """\
- name: p
  hosts: all
  gather_facts: false
  tasks:
"""


def tasks(text: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in text.strip("\n").splitlines())


def test_all_hosts_finish_a_task_before_the_next_begins(play):
    ran = play(tasks("- {name: one, probe: x}\n- {name: two, probe: y, when: inventory_hostname == 'b'}"))
    assert ran.log == "one a ok\none b ok\ntwo a skipped\ntwo b ok"
    assert ran.recap("a") == {"ok": 1, "skipped": 1}
    assert ran.result.exit_code == 0


def test_sections_run_in_order_with_handlers_flushed_between(play):
    play.write("roles/r/tasks/main.yml", "- {name: from role, probe: x}")
    ran = play("""
        - hosts: a
          gather_facts: false
          post_tasks: [{name: post, probe: {changed: true}, notify: h}]
          tasks: [{name: task, probe: {changed: true}, notify: h}]
          roles: [r]
          pre_tasks: [{name: pre, probe: {changed: true}, notify: h}]
          handlers: [{name: h, probe: x}]
        """)
    order = [task for task, _host, _status in ran.results]
    assert order == ["pre", "h", "r : from role", "task", "h", "post", "h"]


def test_failed_host_leaves_the_play_and_the_next_one(play):
    ran = play("""
        - hosts: all
          gather_facts: false
          tasks:
            - {name: one, probe: {fail_on: [a]}}
            - {name: two, probe: x}
        - hosts: all
          gather_facts: false
          tasks: [{name: three, probe: x}]
        """)
    assert ran.log == "one a failed\none b ok\ntwo b ok\nthree b ok"
    assert (ran.recap("a"), ran.result.exit_code) == ({"failed": 1}, 2)


def test_nothing_runs_after_a_play_in_which_every_host_failed(play):
    ran = play("""
        - {hosts: a, gather_facts: false, tasks: [{name: one, probe: {fail: true}}]}
        - {hosts: b, gather_facts: false, tasks: [{name: two, probe: x}]}
        """)
    assert ran.log == "one a failed"


def test_unreachable_host_is_exit_code_4_and_counted_apart(play):
    play.connections.dead = {"b"}
    ran = play(tasks("- {name: one, probe: {touch: true}}\n- {name: two, probe: x}"))
    assert ran.log == "one a ok\none b unreachable\ntwo a ok"
    assert (ran.recap("b"), ran.result.exit_code) == ({"unreachable": 1}, 4)


def test_unreachable_host_in_a_loop_is_exit_code_4_too(play):
    ran = play(tasks("- {name: one, probe: {unreachable_on: [b]}, loop: [1, 2]}"))
    assert ran.log == "one a ok\none b unreachable"
    assert ran.result.exit_code == 4


def test_ignored_failure_goes_on_and_counts_as_ok_and_ignored(play):
    ran = play(
        tasks("- {name: one, probe: {fail: true}, ignore_errors: true}\n- {name: two, probe: x}"), hosts="a"
    )
    assert ran.log == "one a ignored\ntwo a ok"
    assert (ran.recap(), ran.result.exit_code) == ({"ok": 2, "ignored": 1}, 0)


def test_register_holds_results_of_skipped_and_failed_tasks_too(play):
    ran = play(
        tasks("""
- {name: one, probe: {fail: true}, register: bad, ignore_errors: true}
- {name: two, probe: x, register: nope, when: false}
- name: three
  probe: "{{ [bad is failed, bad.rc, nope is skipped] }}"
"""),
        hosts="a",
    )
    assert ran.value("three")["text"] == [True, 7, True]


def test_changed_when_and_failed_when_have_the_last_word(play):
    ran = play(
        tasks("""
- {name: one, probe: {changed: true}, changed_when: false}
- {name: two, probe: x, changed_when: r.text == 'x', register: r}
- {name: three, probe: {fail: true}, failed_when: r.rc != 7, register: r}
- {name: four, probe: x, failed_when: [r.text == 'x', true], register: r}
"""),
        hosts="a",
    )
    assert ran.log == "one a ok\ntwo a changed\nthree a ok\nfour a failed"


def test_loop_registers_a_list_and_shows_items(play):
    ran = play(
        tasks("""
- name: one
  probe: {text: "{{ n }}{{ i }}", changed: "{{ n == 2 }}"}
  loop: [1, 2, 3]
  when: n < 3
  loop_control: {loop_var: n, index_var: i, label: "no {{ n }}"}
  register: r
- {name: two, probe: "{{ r.results | map(attribute='text', default='-') | list }}"}
- {name: three, probe: x, loop: []}
"""),
        hosts="a",
    )
    assert ran.value("two")["text"] == ["10", "21", "-"]
    assert [(e.data["label"], e.data["status"]) for e in ran.of(Kind.ITEM)] == [
        ("no 1", "ok"),
        ("no 2", "changed"),
        ("no 3", "skipped"),
    ]
    assert ran.log == "one a changed\ntwo a ok\nthree a skipped"


def test_break_when_ends_a_loop_and_extended_says_where_it_is(play):
    ran = play(
        tasks("""
- name: one
  probe: "{{ [item, ansible_loop.first, ansible_loop.last, ansible_loop.previtem | default('none')] }}"
  loop: [5, 6, 7]
  loop_control: {extended: true, break_when: item == 6}
  register: r
- {name: two, probe: "{{ r.results | map(attribute='text') | list }}"}
"""),
        hosts="a",
    )
    assert ran.value("two")["text"] == [[5, True, False, "none"], [6, False, False, 5]]


def test_until_repeats_and_says_how_often(play):
    ran = play(
        tasks("""
- {name: one, probe: {fail_times: 2}, until: r is succeeded, retries: 5, delay: 0, register: r}
- {name: two, probe: y, until: false, retries: 1, delay: 0}
"""),
        hosts="a",
    )
    assert ran.value("one")["attempts"] == 3
    assert ran.value("two")["attempts"] == 1  # as Ansible counts those that failed
    assert "not true after 2 attempts: False" in ran.value("two")["msg"]
    assert len(ran.of(Kind.RETRY)) == 3
    assert ran.log == "one a ok\ntwo a failed"


def test_handlers_run_once_in_defined_order_for_the_hosts_that_changed(play):
    ran = play("""
        - hosts: all
          gather_facts: false
          tasks:
            - {name: one, probe: {changed: "{{ inventory_hostname == 'a' }}"}, notify: [second, topic]}
            - {name: two, probe: {changed: "{{ inventory_hostname == 'a' }}"}, notify: second}
            - {name: three, probe: x, notify: third}
          handlers:
            - {name: first, probe: x, listen: topic}
            - {name: second, probe: x}
            - {name: third, probe: x}
        """)
    assert ran.log.splitlines()[-2:] == ["first a ok", "second a ok"]


def test_handler_notified_by_a_handler_runs_too(play):
    ran = play("""
        - hosts: a
          gather_facts: false
          tasks: [{name: one, probe: {changed: true}, notify: late}]
          handlers:
            - {name: early, probe: x}
            - {name: late, probe: {changed: true}, notify: early}
        """)
    assert [task for task, *_ in ran.results] == ["one", "late", "early"]


@pytest.mark.parametrize("force", [False, True])
def test_handlers_of_a_failed_host_run_only_when_forced(play, force):
    ran = play(
        """
        - hosts: a
          gather_facts: false
          tasks:
            - {name: one, probe: {changed: true}, notify: h}
            - {name: two, probe: {fail: true}}
          handlers: [{name: h, probe: x}]
        """,
        force_handlers=force,
    )
    assert ("h", "a", "ok") in ran.results or not force
    assert ran.result.exit_code == 2


def test_flush_handlers_in_the_middle(play):
    ran = play("""
        - hosts: a
          gather_facts: false
          tasks:
            - {name: one, probe: {changed: true}, notify: h}
            - meta: flush_handlers
            - {name: two, probe: x}
          handlers: [{name: h, probe: x}]
        """)
    assert [task for task, *_ in ran.results] == ["one", "h", "two"]


def test_run_once_counts_for_every_host(play):
    ran = play(
        tasks("""
- {name: one, probe: x, run_once: true, register: r}
- {name: two, probe: "{{ r.acted_on }}"}
- {name: three, probe: {fail: true}, run_once: true}
- {name: four, probe: x}
""")
    )
    assert ran.value("two", "b")["text"] == "a"
    assert ran.log == "one a ok\ntwo a ok\ntwo b ok\nthree a failed"


def test_delegation_acts_elsewhere_and_registers_here(play):
    ran = play(
        tasks("""
- {name: one, probe: x, delegate_to: b, register: r}
- {name: two, probe: "{{ r.acted_on }}"}
"""),
        inventory="all: {hosts: {a: {}, b: {ansible_user: bob}}}",
    )
    assert ran.value("two", "a")["text"] == "b"
    assert ran.of(Kind.RESULT)[0].data["delegated"] == "b"


def test_serial_batches_and_a_batch_that_fails_ends_the_run(play):
    ran = play(
        """
        - hosts: all
          gather_facts: false
          serial: [1, "50%"]
          tasks: [{name: "{{ ansible_play_batch | join('+') }}", probe: {fail_on: [b, c]}}]
        """,
        hosts="a,b,c,d",
    )
    assert ran.log == "a a ok\nb+c b failed\nb+c c failed"


def test_max_fail_percentage_and_any_errors_fatal_end_the_play(play):
    ran = play(
        """
        - hosts: all
          gather_facts: false
          max_fail_percentage: 30
          tasks: [{name: one, probe: {fail_on: [a]}}, {name: two, probe: {fail_on: [b]}}, {name: three, probe: x}]
        """,
        hosts="a,b,c,d",
    )
    assert "two c ok" in ran.log
    assert "three" not in ran.log
    ran = play(tasks("- {name: one, probe: {fail_on: [a]}, any_errors_fatal: true}\n- {name: two, probe: x}"))
    assert ran.log == "one a failed\none b ok"


def test_meta_end_host_and_end_play(play):
    ran = play(
        tasks("""
- {name: one, meta: end_host, when: inventory_hostname == 'a'}
- {name: two, probe: x}
- meta: end_play
- {name: three, probe: x}
""")
    )
    assert ran.log == "two b ok"
    assert ran.result.exit_code == 0


def test_tags_choose_tasks(play):
    text = tasks("""
- {name: one, probe: x, tags: [red]}
- {name: two, probe: x, tags: "red,blue"}
- {name: three, probe: x, tags: always}
- {name: four, probe: x, tags: [never, debug]}
""")

    def names(**options):
        return [task for task, *_ in play(text, hosts="a", **options).results]

    assert names() == ["one", "two", "three"]
    assert names(tags=frozenset({"blue"})) == ["two", "three"]
    assert names(tags=frozenset({"debug"})) == ["three", "four"]
    assert names(skip_tags=frozenset({"red"})) == ["three"]


def test_throttle_and_timeout_of_zero_or_less_are_no_limits(play):
    ran = play(
        tasks("- {name: one, probe: x, throttle: -1, timeout: -1}\n- {name: two, probe: x, throttle: 0}")
    )
    assert ran.log == "one a ok\none b ok\ntwo a ok\ntwo b ok"


def test_start_at_task(play):
    text = tasks("- {name: one, probe: x}\n- {name: two, probe: x}\n- {name: three, probe: x}")
    assert [t for t, *_ in play(text, hosts="a", start_at_task="tw*").results] == ["two", "three"]
    named = tasks("- {name: one, probe: x}\n- {name: 'two [b]', probe: x}")
    assert [t for t, *_ in play(named, hosts="a", start_at_task="two [b]").results] == ["two [b]"]
    with pytest.raises(PlaybookError, match="no task is called 'nine'"):
        play(text, hosts="a", start_at_task="nine")


def test_included_tasks_see_the_loop_and_the_vars_of_their_include(play):
    play.write("more.yml", "- {name: more, probe: '{{ n }} {{ v }} {{ inventory_hostname }}', when: n != 2}")
    ran = play(
        tasks("""
- name: include
  include_tasks: more.yml
  loop: [1, 2]
  loop_control: {loop_var: n}
  vars: {v: "v{{ n }}"}
  when: inventory_hostname == 'a' or n == 1
""")
    )
    assert sorted(e.data["result"].get("text", "-") for e in ran.of(Kind.RESULT)) == ["-", "1 v1 a", "1 v1 b"]
    assert [e.data["hosts"] for e in ran.of(Kind.INCLUDE)] == [["a", "b"], ["a"]]
    assert ran.recap("b") == {"ok": 2}


def test_include_role_brings_its_handlers_and_defaults(play):
    play.write(
        "roles/r/tasks/main.yml",
        "- {name: in role, probe: {text: '{{ v }}', changed: true}, notify: from role}",
    )
    play.write("roles/r/defaults/main.yml", "v: default")
    play.write("roles/r/handlers/main.yml", "- {name: from role, probe: '{{ v }} {{ role_name }}'}")
    ran = play(tasks("- {name: include, include_role: {name: r}}"), hosts="a")
    assert [(t, s) for t, _h, s in ran.results] == [("r : in role", "changed"), ("r : from role", "ok")]
    assert ran.value("r : from role")["text"] == "default r"


def test_missing_include_fails_only_the_hosts_that_need_it(play):
    ran = play(
        tasks("- {name: inc, include_tasks: '{{ inventory_hostname }}.yml'}\n- {name: two, probe: x}"),
        hosts="a",
    )
    assert ran.log == "inc a failed"
    assert "a.yml" in ran.value("inc")["msg"]


def test_facts_are_gathered_in_each_play_and_never_templated(play):
    ran = play("""
        - hosts: all
          tasks:
            - {name: one, probe: "{{ ansible_kernel }} / {{ ansible_facts.kernel }} / {{ ansible_facts.evil }}"}
            - {name: two, probe: "{{ hostvars['b'].ansible_kernel }}"}
        - hosts: all
          tasks: [{name: three, probe: x}]
        """)
    assert ran.value("one")["text"] == "kernel of a / kernel of a / {{ 1 + 1 }}"
    assert ran.value("two")["text"] == "kernel of b"
    assert [task for task, *_ in ran.results].count("Gathering Facts") == 4


def test_magic_variables(play):
    names = [
        "inventory_hostname",
        "group_names",
        "groups.web",
        "ansible_play_hosts",
        "ansible_check_mode",
        "playbook_dir",
        "run_dir",
        "ansible_host",
    ]
    ran = play(
        tasks(f'- {{name: one, probe: "{{{{ [{", ".join(names)}] }}}}"}}'),
        inventory="all: {hosts: {a: {ansible_host: 10.0.0.1}}, children: {web: {hosts: {a: {}, b: {}}}}}",
    )
    found = dict(zip(names, ran.value("one")["text"], strict=True))
    assert found["group_names"] == ["web"]
    assert found["groups.web"] == ["a", "b"]
    assert found["ansible_play_hosts"] == ["a", "b"]
    assert found["ansible_host"] == "10.0.0.1"
    assert found["playbook_dir"] == str(play.folder)
    assert found["run_dir"] == str(ran.result.run_dir)


def test_precedence_of_variables(play):
    play.write("vars.yml", "{b: file, c: file}")
    ran = play(
        """
        - hosts: a
          gather_facts: false
          vars: {a: play, b: play, c: play, d: play, e: play}
          vars_files: [vars.yml]
          tasks:
            - {name: fact, set_fact: {d: fact, e: fact}}
            - {name: one, vars: {c: task}, probe: "{{ [z, a, b, c, d, e] }}"}
        """,
        inventory="all: {hosts: {a: {z: inventory, a: inventory}}}",
        extra_vars={"e": "extra"},
    )
    assert ran.value("one")["text"] == ["inventory", "play", "file", "task", "fact", "extra"]


def test_become_and_environment_reach_the_task(play):
    ran = play(
        """
        - hosts: a
          gather_facts: false
          become: true
          environment: {A: play, B: play}
          tasks:
            - {name: one, probe: x, become_user: deploy, environment: {B: "{{ inventory_hostname }}"}}
            - {name: two, probe: x, become: false}
            - {name: three, probe: {touch: true}}
        """
    )
    assert ran.value("one")["user"] == "deploy"
    assert ran.value("one")["environment"] == {"A": "play", "B": "a"}
    assert ran.value("two")["user"] is None
    assert ran.connections.nodes["a"].log[-1].arguments["env"] == {"A": "play", "B": "play"}


def test_undefined_variable_fails_with_its_position_and_exit_code_8(play):
    ran = play(tasks("- {name: one, probe: '{{ nowhere }}'}"), hosts="a")
    data = ran.of(Kind.RESULT)[0].data
    assert "'nowhere' is undefined" in data["result"]["msg"]
    assert data["mark"].split("site.yml:")[1].startswith("5:")
    assert ran.result.exit_code == 8


def test_full_disk_is_a_clear_failure(play):
    ran = play(tasks("- {name: one, probe: {full_disk: true}}"), hosts="a")
    assert "no space left on the node" in ran.value("one")["msg"]
    assert ran.result.exit_code == 2


def test_unknown_pattern_and_unknown_notification_name_the_nearest(play):
    ran = play("- {hosts: web, gather_facts: false}", inventory="all: {children: {webs: {hosts: {a: {}}}}}")
    assert [event.data["message"] for event in ran.of(Kind.WARNING)] == [
        "no host or group is called 'web' (did you mean 'webs'?)"
    ]
    with pytest.raises(PlaybookError) as found:
        play(tasks("- {name: one, probe: {changed: true}, notify: '{{ \"hx\" }}'}"), hosts="a")
    assert found.value.exit_code == 6


def test_strategy_free_lets_hosts_run_ahead(play):
    ran = play("""
        - hosts: all
          gather_facts: false
          strategy: free
          tasks:
            - {name: one, probe: {changed: true}, notify: h}
            - {name: two, probe: {fail_on: [b]}}
          handlers: [{name: h, probe: x}]
        """)
    assert [(t, s) for t, h, s in ran.results if h == "a"] == [("one", "changed"), ("two", "ok"), ("h", "ok")]
    assert [(t, s) for t, h, s in ran.results if h == "b"] == [("one", "changed"), ("two", "failed")]


def test_journal_keeps_every_event_and_the_end(play):
    ran = play(tasks("- {name: one, probe: hello}"), hosts="a")
    folder = ran.result.run_dir
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    kept = [str(event.kind) for event in ran.events if event.kind is not Kind.HOST_START]
    assert [line["event"] for line in lines] == kept
    assert lines[-1]["event"] == "run_end"
    head = json.loads((folder / "run.json").read_text())
    assert (head["exit_code"], head["recap"]["a"]["ok"]) == (0, 1)
    assert head["self"]["peak_rss_bytes"] > 1_000_000
    assert (folder.parent / "latest").resolve() == folder
    assert "hello" in (folder / "logs" / "a.log").read_text()
    assert play(tasks("- {name: one, probe: x}"), hosts="a").result.run_dir != folder


def test_ignored_unreachable_host_goes_on(play):
    ran = play(
        tasks(
            "- {name: one, probe: {unreachable_on: [a]}, ignore_unreachable: true}\n- {name: two, probe: x}"
        )
    )
    assert ran.log == "one a ignored\none b ok\ntwo a ok\ntwo b ok"
    assert ran.result.exit_code == 0


def test_prompts_are_asked_unless_given(play):
    text = """
        - hosts: a
          gather_facts: false
          vars_prompt: [{name: p, prompt: Which, private: false}, {name: q, default: d}, {name: e}]
          tasks: [{name: one, probe: "{{ [p, q, e] }}"}]
        """
    asked = []
    answers = {"Which": "this", "q [d]": ""}
    ran = play(
        text,
        extra_vars={"e": "extra"},
        ask=lambda t, private, _check: asked.append((t, private)) or answers[t],
    )
    assert ran.value("one")["text"] == ["this", "d", "extra"]
    assert asked == [("Which", False), ("q [d]", True)]
    assert play(text, extra_vars={"e": "extra"}).value("one")["text"] == ["None", "d", "extra"]


def test_two_playbooks_share_facts_and_recap(play):
    other = play.write("other.yml", "- {hosts: a, tasks: [{name: two, probe: '{{ ansible_kernel }}'}]}")
    ran = play("- hosts: a\n- import_playbook: other.yml\n")
    assert other.exists()
    assert [task for task, *_ in ran.results] == ["Gathering Facts", "Gathering Facts", "two"]


def test_include_vars_ranks_above_play_vars(play):
    play.write("more.yml", "v: more")
    ran = play("""
        - hosts: a
          gather_facts: false
          vars: {v: play}
          tasks:
            - {name: inc, include_vars: more.yml}
            - {name: one, probe: "{{ v }}"}
        """)
    assert ran.value("one")["text"] == "more"


def test_include_vars_of_a_missing_file_names_the_nearest_but_no_playbook(play):
    def said(name: str) -> str:
        return play(tasks(f"- {{name: inc, include_vars: {name}}}"), hosts="a").value("inc")["msg"]

    assert "looked in" in said("sit.yml")
    play.write("more.yml", "v: more")
    assert "did you mean 'more.yml'?" in said("mor.yml")


def test_glob_below_no_folder_is_said_and_one_that_matches_nothing_is_not(play):
    glob = tasks("- {name: one, probe: '{{ item }}', with_fileglob: [nowhere/*.conf, '*.nothing']}")
    (warned,) = {event.data["message"] for event in play(glob).of(Kind.WARNING)}
    assert "there is no folder 'nowhere' (looked in " in warned


def test_hosts_share_a_pause_and_are_told_of_it_once(play):
    ran = play(tasks("- {name: one, pause: {seconds: 1, prompt: a moment}}"))
    assert [event.data["message"] for event in ran.of(Kind.PROGRESS)] == ["a moment"]
    assert ran.recap("b") == {"ok": 1}


def test_hosts_that_failed_in_an_earlier_play_are_brought_back_for_the_next(play):
    ran = play("""
        - hosts: all
          gather_facts: false
          tasks: [{name: one, probe: {fail_on: [b]}}]
        - hosts: all
          gather_facts: false
          tasks: [{meta: clear_host_errors}, {name: two, probe: x}]
        - hosts: all
          gather_facts: false
          tasks: [{name: three, probe: x}]
    """)
    assert ran.log == "one a ok\none b failed\ntwo a ok\nthree a ok\nthree b ok"
    assert ran.result.exit_code == 0
