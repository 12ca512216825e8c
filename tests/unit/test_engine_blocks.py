"""Blocks: rescue, always, and what labctl adds: loop, until, rescue of an unreachable host."""

from __future__ import annotations

from labctl.events import Kind

HEAD = "- name: p\n  hosts: all\n  gather_facts: false\n  tasks:\n"


def tasks(text: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in text.strip("\n").splitlines())


def test_rescue_and_always(play):
    ran = play(
        tasks("""
- block:
    - {name: one, probe: {fail_on: [a]}}
    - {name: two, probe: x}
  rescue:
    - {name: rescue, probe: "{{ ansible_failed_task.name }} {{ ansible_failed_result.rc }}"}
  always:
    - {name: always, probe: x}
- {name: after, probe: x}
""")
    )
    assert ran.log == (
        "one a rescued\none b ok\ntwo b ok\nrescue a ok\nalways a ok\nalways b ok\nafter a ok\nafter b ok"
    )
    assert ran.value("rescue")["text"] == "one 7"
    assert ran.recap("a") == {"ok": 3, "rescued": 1}
    assert ran.result.exit_code == 0


def test_always_runs_after_a_failure_that_stays_one(play):
    ran = play(
        tasks("""
- block: [{name: one, probe: {fail: true}}]
  always: [{name: always, probe: x}]
- {name: after, probe: x}
"""),
        hosts="a",
    )
    assert ran.log == "one a failed\nalways a ok"
    assert ran.recap() == {"ok": 1, "failed": 1}
    assert ran.result.exit_code == 2


def test_failing_rescue_is_caught_by_the_next_block_out(play):
    ran = play(
        tasks("""
- block:
    - block: [{name: one, probe: {fail: true}}]
      rescue: [{name: two, probe: {fail: true}}]
  rescue: [{name: three, probe: x}]
"""),
        hosts="a",
    )
    assert ran.log == "one a rescued\ntwo a rescued\nthree a ok"
    assert ran.recap() == {"ok": 1, "rescued": 2}


def test_unreachable_host_can_be_rescued(play):
    ran = play(
        tasks("""
- block: [{name: one, probe: {unreachable_on: [a]}}]
  rescue: [{name: rescue, probe: "{{ ansible_failed_result.unreachable }}", delegate_to: b}]
- {name: after, probe: x}
""")
    )
    assert ran.log == "one a rescued\none b ok\nrescue a ok\nafter a ok\nafter b ok"
    assert (ran.recap("a"), ran.result.exit_code) == ({"ok": 2, "rescued": 1}, 0)


def test_unreachable_host_gets_no_always_unless_it_may_come_back(play):
    ran = play(
        tasks("""
- block: [{name: one, probe: {unreachable_on: [a]}}]
  always: [{name: always, probe: x}]
""")
    )
    assert ran.log == "one a unreachable\none b ok\nalways b ok"


def test_keywords_of_a_block_hold_for_its_tasks(play):
    ran = play(
        tasks("""
- when: inventory_hostname == 'a'
  vars: {v: 1}
  ignore_errors: true
  block:
    - {name: one, probe: {text: "{{ v }}", fail: true}}
    - {name: two, probe: x, when: v == 2}
""")
    )
    assert ran.log == "one a ignored\none b skipped\ntwo a skipped\ntwo b skipped"


def test_loop_over_a_block_takes_its_tasks_in_turns(play):
    ran = play(
        tasks("""
- name: turns
  loop: "{{ [1, 2] if inventory_hostname == 'a' else [1] }}"
  loop_control: {loop_var: n}
  block:
    - {name: one, probe: "one {{ n }}"}
    - {name: two, probe: "two {{ n }}"}
""")
    )
    order = [(e.host, e.data["result"]["text"]) for e in ran.of(Kind.RESULT)]
    assert [text for host, text in order if host == "a"] == ["one 1", "two 1", "one 2", "two 2"]
    assert [text for host, text in order if host == "b"] == ["one 1", "two 1"]


def test_until_on_a_block_repeats_it_and_survives_its_failures(play):
    ran = play(
        tasks("""
- name: again
  until: r.count >= 3
  retries: 5
  delay: 0
  block:
    - {name: one, probe: {text: x, fail_times: 1}, register: r}
- {name: after, probe: x}
"""),
        hosts="a",
    )
    assert ran.log == "one a rescued\none a ok\none a ok\nafter a ok"
    assert len(ran.of(Kind.RETRY)) == 2


def test_until_on_a_block_that_never_comes_true_fails(play):
    ran = play(
        tasks("""
- name: again
  until: false
  retries: 1
  delay: 0
  block: [{name: one, probe: x}]
- {name: after, probe: x}
"""),
        hosts="a",
    )
    assert ran.log == "one a ok\none a ok\nagain a failed"
    assert ran.result.exit_code == 2


def test_any_errors_fatal_in_a_block_leads_every_host_to_the_rescue(play):
    ran = play(
        tasks("""
- any_errors_fatal: true
  block: [{name: one, probe: {fail_on: [a]}}, {name: two, probe: x}]
  rescue: [{name: rescue, probe: x}]
""")
    )
    assert ran.log == "one a rescued\none b ok\nrescue a ok\nrescue b ok"
