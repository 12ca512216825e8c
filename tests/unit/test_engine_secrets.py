"""What must not be shown is not in any event, log or line on the terminal."""

from __future__ import annotations

from labctl.console.plain import PlainConsole
from labctl.engine.results import hide

SECRET = "hunter2-is-secret"


def everywhere(ran, play) -> str:
    lines: list[str] = []
    for verbosity in (0, 3):
        console = PlainConsole(lines.append, verbosity=verbosity)
        for event in ran.events:
            console(event)
    files = [path.read_text() for path in play.folder.glob("runs/*/**/*") if path.is_file()]
    return "\n".join([*lines, *files])


def run(play, task: str):
    return play(
        f"- hosts: a\n  gather_facts: false\n  vars: {{s: {SECRET}}}\n  tasks:\n    - {task}\n", diff=True
    )


def test_no_log_hides_results_items_output_and_failures(play):
    for task in (
        "{name: one, probe: '{{ s }}', no_log: true}",
        "{name: one, probe: '{{ item }}', loop: ['{{ s }}'], no_log: true}",
        "{name: one, probe: {text: '{{ s }}', fail: true}, no_log: true}",
        "{name: one, probe: {text: '{{ s }}', fail_times: 1}, no_log: true, retries: 2, delay: 0}",
    ):
        ran = run(play, task)
        text = everywhere(ran, play)
        assert SECRET not in text, task
        assert "censored" in text


def test_no_log_holds_even_when_the_task_cannot_be_rendered(play):
    ran = run(play, "{name: one, probe: '{{ (s ~ 1) / 2 }}', no_log: true}")
    assert ran.log == "one a failed"
    assert SECRET not in everywhere(ran, play)


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    for secrets in ({"hunter2", "hunter2-is-secret"}, {"is-secret", "hunter2-is-secret"}):
        assert hide([SECRET], frozenset(secrets)) == ["********"]


def test_secret_arguments_are_hidden_wherever_they_come_back(play):
    for task in (
        "{name: one, probe: {password: '{{ s }}'}}",
        "{name: one, probe: {password: '{{ s }}', fail: true}}",
        "{name: one, probe: {password: '{{ item }}'}, loop: ['{{ s }}']}",
    ):
        ran = run(play, task)
        text = everywhere(ran, play)
        assert SECRET not in text, task
        assert "********" in text
