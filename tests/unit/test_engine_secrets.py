"""What must not be shown is not in any event, log or line on the terminal."""

from __future__ import annotations

import os
import subprocess

import pytest

from labctl.console.plain import PlainConsole
from labctl.engine import exported
from labctl.engine.results import hide
from labctl.vault import Keyring, Password, encrypt

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


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    keyring = Keyring([Password("default", b"the vault's password")])
    monkeypatch.setattr("labctl.vault.keyring._current", keyring)
    return keyring


def sealed(text: str) -> str:
    lines = encrypt(text.encode(), b"the vault's password").splitlines()
    return "!vault |\n" + "\n".join(f"        {line}" for line in lines)


def test_what_came_out_of_a_vault_is_shown_by_debug_alone(play, keyring) -> None:
    ran = play(
        f"- hosts: a\n  gather_facts: false\n  vars:\n    s: {sealed(SECRET)}\n  tasks:\n"
        "    - {name: shown, debug: {msg: 'so {{ s }}'}}\n"
        "    - {name: told, probe: {text: 'and {{ s }}'}}\n"
        "    - {name: broken, probe: {text: '{{ s }}', fail: true}, ignore_errors: true}\n"
        "    - {name: 'named {{ s }}', probe: {text: x}, loop: ['{{ s }}']}\n",
        hosts="a",
    )
    assert ran.value("shown")["msg"] == f"so {SECRET}"
    assert ran.value("told")["text"] == "and ********"
    others = [event for event in ran.events if event.data.get("action") != "debug"]
    assert SECRET not in str(others)
    assert next(event.task for event in ran.events if "named" in (event.task or "")) == "named ********"


def test_what_a_task_under_no_log_found_out_is_hidden_where_it_comes_back(play, keyring) -> None:
    ran = play(
        "- hosts: a\n  gather_facts: false\n  tasks:\n"
        f"    - {{name: one, set_fact: {{s: {SECRET}}}, no_log: true}}\n"
        "    - {name: two, probe: {text: 'and {{ s }}'}}\n"
        "    - {name: three, assert: {that: s == 'hunter2-is-secret'}}\n",
        hosts="a",
    )
    assert ran.value("two")["text"] == "and ********"
    assert ran.recap() == {"ok": 3}


def test_an_unused_ciphertext_needs_no_password_and_a_used_one_fails_its_task(play, monkeypatch) -> None:
    text = sealed(SECRET)
    monkeypatch.setattr("labctl.vault.keyring._current", Keyring())
    ran = play(
        f"- hosts: a\n  gather_facts: false\n  vars:\n    s: {text}\n  tasks:\n"
        "    - {name: unused, debug: {msg: fine}}\n"
        "    - {name: used, debug: {msg: '{{ s }}'}}\n",
        hosts="a",
    )
    assert ran.log == "unused a ok\nused a failed"
    assert "no vault password was given" in ran.value("used")["msg"]
    assert ran.result.exit_code == 8


def test_the_environment_of_raw_is_on_no_command_line() -> None:
    """Its values come on standard input, and what the command reads comes after them."""
    values = {"A": SECRET, "B": "it's\ntwo lines\n", "C": '$HOME `id` \\ "q"', "l": "x", "e": "y"}
    line = exported.with_environment(
        'printf \'%s|\' "$A" "$B" "$C" $l $e; cat; env | grep -c labctl_', values
    )
    assert SECRET not in line
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        input=exported.lines(values) + b"own input\n",
        capture_output=True,
        env={"PATH": os.environ["PATH"], "SHELL": "/bin/sh"},
        check=False,
    )
    assert done.stdout.decode() == "".join(f"{value}|" for value in values.values()) + "own input\n0\n"
    assert exported.with_environment("x", {}) == "x"
    assert exported.lines({}) == b""


def test_a_diff_does_not_show_a_file_that_was_decrypted(play, keyring) -> None:
    play.write("files/key.pem", encrypt(b"-----BEGIN KEY-----\n", b"the vault's password"))
    play.write("templates/t.j2", encrypt(b"key of {{ inventory_hostname }}\n", b"the vault's password"))
    ran = play(
        "- hosts: a\n  gather_facts: false\n  tasks:\n"
        "    - {name: one, copy: {src: key.pem, dest: /key.pem}}\n"
        "    - {name: two, template: {src: t.j2, dest: /t}}\n",
        hosts="a",
        diff=True,
    )
    assert ran.connections.nodes["a"].read("/key.pem") == b"-----BEGIN KEY-----\n"
    assert ran.connections.nodes["a"].read("/t") == b"key of a\n"
    for text in ("BEGIN KEY", "key of a"):
        assert text not in everywhere(ran, play)
    assert "decrypted from Ansible Vault" in everywhere(ran, play)
