"""A dry run: what would change, what cannot be known, and nothing else."""

from __future__ import annotations

from labctl.events import Kind

HEAD = "- name: p\n  hosts: all\n  gather_facts: false\n  tasks:\n"


def tasks(text: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in text.strip("\n").splitlines())


def test_changes_are_listed_with_their_diff_and_counted(play):
    ran = play(tasks("- {name: one, probe: {changed: true}}"), hosts="a", check=True, diff=True)
    data = ran.of(Kind.RESULT)[0].data
    assert (data["status"], data["changes"]) == ("changed", ["the thing"])
    assert data["diff"] == [{"what": "the thing", "before": "old\n", "after": "new\n"}]
    assert ran.recap() == {"ok": 1, "changed": 1}


def test_whatever_uses_an_unknown_value_is_unknown_and_the_rest_goes_on(play):
    ran = play(
        tasks("""
- {name: one, probe: {unknown: it decides}, register: r}
- {name: two, probe: x, when: r.count == 1}
- {name: three, probe: "{{ r.text }}"}
- {name: four, set_fact: {f: "{{ r.text }}"}}
- {name: five, probe: "{{ f }}"}
- {name: six, probe: x}
- {name: seven, probe: "{{ item }}", loop: "{{ r.items }}"}
- {name: eight, probe: "{{ r is defined }}"}
"""),
        hosts="a",
        check=True,
    )
    unknown = [task for task, _h, status in ran.results if status == "unknown"]
    assert unknown == ["one", "two", "three", "four", "five", "seven"]
    assert ran.recap() == {"ok": 2, "unknown": 6}
    assert "it decides" in ran.of(Kind.RESULT)[1].data["unknown"]
    assert ran.result.exit_code == 3


def test_handler_of_an_unknown_task_is_unknown_and_of_a_change_is_not(play):
    text = """
        - hosts: a
          gather_facts: false
          tasks: [{name: one, probe: {%s}, notify: h}]
          handlers: [{name: h, probe: x}]
        """
    assert play(text % "unknown: later", check=True).log == "one a unknown\nh a unknown"
    assert play(text % "changed: true", check=True).log == "one a changed\nh a ok"


def test_what_never_changes_anything_is_unknown_but_nothing_that_may_change(play):
    text = """
        - hosts: a
          gather_facts: false
          tasks:
            - {name: look, probe: {unknown: later}, register: r, changed_when: %s, notify: h}
            - {name: say, debug: {msg: "{{ r.text }}"}}
          handlers: [{name: h, probe: x}]
        """
    ran = play(text % "false", check=True)
    assert ran.log == "look a unknown\nsay a unknown"
    assert ran.result.exit_code == 0
    ran = play(text % "r.rc == 3", check=True)
    assert ran.log == "look a unknown\nsay a unknown\nh a unknown"
    assert ran.result.exit_code == 3


def test_loop_of_what_never_changes_anything_notifies_nobody(play):
    text = """
        - hosts: a
          gather_facts: false
          tasks:
            - {name: look, probe: {unknown: later}, loop: [1, 2], changed_when: false, notify: h}
          handlers: [{name: h, probe: x}]
        """
    ran = play(text, check=True)
    assert ran.log == "look a unknown"
    assert ran.result.exit_code == 0


def test_failure_after_something_that_would_change_the_host_is_unknown(play):
    ran = play(
        tasks(
            "- {name: one, probe: {changed: '{{ inventory_hostname == \"a\" }}'}}\n"
            "- {name: two, probe: {touch: true, fail: true}}"
        ),
        check=True,
    )
    assert ran.log == "one a changed\none b ok\ntwo a unknown\ntwo b failed"
    assert ran.result.exit_code == 2


def test_until_does_not_wait(play):
    ran = play(
        tasks("- {name: one, probe: {fail_times: 9}, until: r is succeeded, delay: 60, register: r}"),
        hosts="a",
        check=True,
    )
    assert ran.log == "one a unknown"


def test_check_mode_keyword_wins_over_the_command_line(play):
    for check, keyword in ((True, "false"), (False, "true")):
        ran = play(tasks(f"- {{name: one, probe: x, check_mode: {keyword}}}"), hosts="a", check=check)
        assert ran.value("one")["check"] is (keyword == "true")
