"""What is asked at a terminal: answers, passwords, and what becomes of Ctrl-C and of the end of the input."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = """\
- hosts: localhost
  gather_facts: false
  vars_prompt:
    - {name: word, prompt: Word, confirm: true}
    - {name: who, prompt: Who, private: false, default: me}
    - {name: hash, prompt: Hash, encrypt: sha512_crypt, salt: abcdefgh}
  tasks: [{debug: {msg: "{{ word }} {{ who }} {{ hash }}"}}]
"""
PAUSE = """\
- hosts: localhost
  gather_facts: false
  tasks: [{pause: {prompt: Go on?}, register: said}, {debug: {msg: "said {{ said.user_input }}"}}]
"""


class Terminal:
    """labctl, with a terminal of its own."""

    def __init__(self, folder: Path, text: str, *options: str) -> None:
        (folder / "site.yml").write_text(text)
        self.said, self._seen = "", 0
        self._pid, self._fd = pty.fork()
        if not self._pid:
            os.chdir(folder)
            os.environ |= {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "TERM": "dumb"}
            command = ["-P", "-m", "labctl", "run", "site.yml", "-i", "localhost,", "-c", "local", *options]
            os.execv(sys.executable, [sys.executable, *command])

    def until(self, text: str, within: float = 30.0) -> None:
        """Read until it has said that, behind what was waited for before."""
        until = time.monotonic() + within
        while (at := self.said.find(text, self._seen)) < 0:
            assert self._read(until), f"it does not say {text!r} but: {self.said}"
        self._seen = at + len(text)

    def _read(self, until: float) -> bool:
        if not select.select([self._fd], [], [], max(0.0, until - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._fd, 4096)
        except OSError:  # it has ended
            return False
        self.said += data.decode().replace("\r\n", "\n")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def kill(self, number: int) -> None:
        os.kill(self._pid, number)

    def end(self) -> int:
        """Read the rest; its exit code."""
        until = time.monotonic() + 30
        while self._read(until):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def close(self) -> None:
        try:
            if os.waitpid(self._pid, os.WNOHANG) == (0, 0):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass
        os.close(self._fd)


@pytest.fixture
def terminal(tmp_path):
    opened = []

    def start(text: str, *options: str) -> Terminal:
        opened.append(Terminal(tmp_path, text, *options))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_answers_are_confirmed_encrypted_and_have_defaults(terminal):
    shown = terminal(PROMPTS)
    for prompt, typed in (
        ("Word: ", "first"),
        ("confirm Word: ", "other"),
        ("do not match", ""),
        ("Word: ", "first"),
        ("confirm Word: ", "first"),
        ("Who [me]: ", "\n"),
        ("Hash: ", "secret"),
    ):
        shown.until(prompt)
        if typed:
            shown.type(typed.rstrip("\n") + "\n")
    assert shown.end() == 0
    assert "first me $6$rounds=656000$abcdefgh$" in shown.said
    assert "other" not in shown.said
    assert "secret" not in shown.said


@pytest.mark.parametrize(
    ("text", "options", "prompt"),
    [(PROMPTS, (), "Word: "), (PAUSE, (), "Go on?: "), (PAUSE, ("--step",), "(c)ontinue: ")],
)
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_one_signal_ends_what_waits_for_an_answer(terminal, text, options, prompt, how):
    shown = terminal(text, *options)
    shown.until(prompt)
    if how == "Ctrl-C":
        shown.type("\x03")
    else:
        shown.kill(signal.SIGTERM)
    assert shown.end() == 130
    assert how in shown.said


@pytest.mark.parametrize(
    ("text", "options", "prompt"),
    [
        (PROMPTS, (), "Word: "),
        (PAUSE, ("--step",), "(c)ontinue: "),
        (PAUSE, ("-K",), "become password: "),
        (PAUSE, ("-k",), "SSH password: "),
    ],
)
def test_the_end_of_the_input_is_said_as_such(terminal, text, options, prompt):
    shown = terminal(text, *options)
    shown.until(prompt)
    shown.type("\x04")
    assert shown.end() == 5
    assert "nobody answers to" in shown.said
    assert "fault of labctl" not in shown.said


def test_a_pause_takes_what_is_typed_and_the_end_of_the_input_as_no_answer(terminal):
    shown = terminal(PAUSE)
    shown.until("Go on?: ")
    shown.type("yes\n")
    assert (shown.end(), "said yes" in shown.said) == (0, True)
    shown = terminal(PAUSE)
    shown.until("Go on?: ")
    shown.type("\x04")
    assert (shown.end(), "said \n" in shown.said) == (0, True)


def test_a_password_is_asked_for_on_and_shown_to_nobody(terminal):
    shown = terminal(PAUSE, "-K", "--list-tasks")
    shown.until("become password: ")
    shown.type("hunter2\n")
    assert shown.end() == 0
    assert "hunter2" not in shown.said
