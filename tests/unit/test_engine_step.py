"""--step asks, and --start-at-task begins in the middle."""

from __future__ import annotations

from labctl.events import Kind

TEXT = """
    - hosts: all
      gather_facts: false
      tasks:
        - {name: one, probe: {changed: true}, notify: h}
        - {name: two, probe: x}
        - {name: three, probe: x}
      handlers: [{name: h, probe: x}]
    """


def test_only_what_is_allowed_runs_until_continue(play):
    answers = iter(["y", "", "c"])
    asked = []

    def ask(text, private, _check):
        asked.append((text, private))
        return next(answers)

    ran = play(TEXT, step=True, ask=ask)
    assert ran.log == "one a changed\none b changed\nthree a ok\nthree b ok\nh a ok\nh b ok"
    assert asked[0] == ("Perform task: one (N)o/(y)es/(c)ontinue", False)
    assert len(asked) == 3


def test_nothing_before_the_start_runs_not_even_what_always_runs(play):
    text = """
        - {hosts: a, gather_facts: true, tasks: [{name: zero, probe: x, tags: always}, {meta: end_play}]}
        - hosts: a
          tasks: [{name: one, probe: x, tags: always}, {name: two, probe: x}, {name: three, probe: x}]
        """
    ran = play(text, start_at_task="tw?")
    assert [e.task for e in ran.of(Kind.RESULT)] == ["Gathering Facts", "two", "three"]
