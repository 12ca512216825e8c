"""What a person and a program read of the same events."""

from __future__ import annotations

import io
import json
import os

import pytest

from labctl.console.jsonl import JsonLines
from labctl.console.plain import LIVE_AFTER, PlainConsole
from labctl.console.text import block, duration
from labctl.events import Event, Kind


class Screen:
    def __init__(self, **options):
        self.lines = []
        self.console = PlainConsole(self.lines.append, **options)

    def __call__(self, kind, *, task=None, host=None, time=0.0, **data):
        self.console(Event(kind, data, "p", task, host, time))

    @property
    def text(self):
        return "\n".join(self.lines)


def failure(screen, host, message, **data):
    screen(
        Kind.RESULT,
        task="t",
        host=host,
        status="failed",
        seconds=0.1,
        action="command",
        result={"msg": message, "rc": 1, "failed": True, "changed": False},
        mark="site.yml:3:5",
        excerpt="    3 | - command: false",
        **data,
    )


def test_same_failure_on_many_hosts_prints_once_and_is_summed_up():
    screen = Screen()
    screen(Kind.TASK_START, name="t", hosts=["a", "b", "c"])
    failure(screen, "a", "no such file")
    failure(screen, "b", "something else")
    failure(screen, "c", "no such file")
    assert screen.text.count("no such file") == 1
    assert "fatal: [a, c]: FAILED!" in screen.text
    screen(Kind.STATS, hosts={"a": {"failed": 1}, "b": {"failed": 1}, "c": {"failed": 1}})
    summary = screen.text.split("FAILURES")[1]
    assert "t  on a, c" in summary
    assert "site.yml:3:5" in summary
    assert "- command: false" in summary


def test_recap_counts_unknown_only_in_a_dry_run():
    for check in (False, True):
        screen = Screen()
        screen(Kind.RUN_START, check=check)
        screen(Kind.STATS, hosts={"a": {"ok": 2, "changed": 1, "unknown": 3}})
        assert ("unknown=3" in screen.text) is check
        assert "ok=2" in screen.text


def test_output_of_a_command_shows_once_it_takes_long():
    screen = Screen()
    screen(Kind.TASK_START, task="t", name="t", hosts=["a"])
    screen(Kind.HOST_START, task="t", host="a", time=100.0)
    screen(Kind.OUTPUT, task="t", host="a", time=100.5, stream="stdout", text="early\n")
    assert "early" not in screen.text
    screen(Kind.OUTPUT, task="t", host="a", time=100.0 + LIVE_AFTER, stream="stdout", text="late\n")
    assert screen.lines[-2:] == ["  a | early", "  a | late"]


def free(screen, task, host, **data):
    screen(Kind.TASK_START, task=task, name=task, hosts=[host], free=True, **data)
    screen(Kind.HOST_START, task=task, host=host, time=100.0)


def ok(screen, task, host):
    screen(Kind.RESULT, task=task, host=host, status="ok", seconds=0.1, action="command", result={})


def test_where_hosts_go_on_by_themselves_a_result_stands_under_its_own_task():
    screen = Screen()
    for host in ("a", "b"):
        free(screen, "one", host)
    ok(screen, "one", "a")
    free(screen, "two", "a")
    ok(screen, "two", "a")
    ok(screen, "one", "b")
    free(screen, "two", "b")
    failure(screen, "b", "of t")
    lines = [line.rstrip(" *") for line in screen.lines if line]
    assert lines[:6] == ["TASK [one]", "ok: [a]", "TASK [two]", "ok: [a]", "TASK [one]", "ok: [b]"]
    assert lines[6] == "fatal: [b]: FAILED!"


def test_where_hosts_go_on_by_themselves_a_long_task_shows_its_output():
    screen = Screen()
    free(screen, "long", "a")
    screen(Kind.OUTPUT, task="long", host="a", time=100.5, stream="stdout", text="early\n")
    free(screen, "short", "b")
    ok(screen, "short", "b")
    late = 100.0 + LIVE_AFTER
    screen(Kind.OUTPUT, task="long", host="a", time=late, stream="stdout", text="late\n")
    assert screen.lines[-3].startswith("TASK [long]")
    assert screen.lines[-2:] == ["  a | early", "  a | late"]


def test_what_is_included_in_a_loop_is_told_with_its_item():
    screen = Screen()
    screen(Kind.INCLUDE, task="t", file="inc.yml", item="L1", hosts=["a"])
    screen(Kind.INCLUDE, task="t", file="inc.yml", item=None, hosts=["a"])
    assert screen.lines == ["included: inc.yml for a => (item=L1)", "included: inc.yml for a"]


def test_results_show_at_v_and_debug_always():
    for verbosity in (0, 1):
        screen = Screen(verbosity=verbosity)
        screen(Kind.TASK_START, name="t", hosts=["a"])
        result = {"changed": True, "stdout": "one\ntwo", "stdout_lines": ["one", "two"], "rc": 0}
        screen(Kind.RESULT, task="t", host="a", status="changed", result=result, action="command", seconds=0)
        assert ("stdout: |" in screen.text) is bool(verbosity)
        assert "stdout_lines" not in screen.text
    screen = Screen()
    screen(Kind.TASK_START, name="t", hosts=["a"])
    screen(Kind.RESULT, task="t", host="a", status="ok", result={"msg": "hello"}, action="debug", seconds=0)
    assert "    hello" in screen.lines


def test_colours_only_when_asked_for():
    for colour in (False, True):
        screen = Screen(colour=colour)
        screen(Kind.TASK_START, name="t", hosts=["a"])
        screen(Kind.RESULT, task="t", host="a", status="ok", result={}, action="x", seconds=0)
        assert ("\x1b[" in screen.text) is colour


def test_text_of_a_node_cannot_move_the_cursor():
    screen = Screen(verbosity=1)
    screen(Kind.TASK_START, name="t", hosts=["a"])
    screen(
        Kind.RESULT, task="t", host="a", status="ok", result={"stdout": "x\x1b[2Jy"}, action="x", seconds=0
    )
    assert "\x1b" not in screen.text


def test_gathered_facts_are_shown_only_when_much_is_asked_for():
    for verbosity, shown in ((1, False), (2, False), (3, True)):
        screen = Screen(verbosity=verbosity)
        screen(Kind.TASK_START, name="t", hosts=["a"])
        facts = {"ansible_facts": {"ansible_kernel": "6.1"}}
        screen(Kind.RESULT, task="t", host="a", status="ok", result=facts, action="setup", seconds=0)
        assert ("ansible_kernel" in screen.text) is shown


def test_phase_is_one_line():
    screen = Screen()
    screen(Kind.PHASE, subject="trial 1", name="checkpoint", seconds=0.25, detail={"bytes": 10})
    assert screen.lines == ["  phase trial 1: checkpoint  0.2 s  bytes=10"]


def test_interrupt_says_what_was_undone():
    screen = Screen()
    screen(Kind.RUN_END, exit_code=130, seconds=1.0, undone=["collector on worker1 stopped"])
    assert "  - collector on worker1 stopped" in screen.lines


def test_json_lines_are_one_object_each():
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines(Event(Kind.RESULT, {"result": {"raw": b"x", "set": {1}}}, "p", "t", "a", 1.5))
    lines.flush()
    record = json.loads(stream.getvalue())
    assert (record["event"], record["host"], record["data"]["result"]) == (
        "result",
        "a",
        {"raw": "x", "set": [1]},
    )


def test_json_lines_outlive_their_reader():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        lines = JsonLines(stream)
        for number in range(2):
            lines(Event(Kind.MESSAGE, {"message": number}))


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "0.2 s"), (65, "1 min 05 s"), (7380, "2 h 03 min")])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_block_reads_like_yaml():
    value = {"rc": 1, "text": "a\nb\n", "list": [{"x": True}], "empty": {}}
    assert list(block(value, 0)) == [
        "rc: 1",
        "text: |",
        "    a",
        "    b",
        "list:",
        "    -",
        "        x: true",
        "empty: {}",
    ]


def test_repeated_warnings_and_quick_progress_are_said_once():
    screen = Screen()
    for time in (10.0, 10.1, 21.0):
        screen(Kind.WARNING, message="mind the gap")
        screen(Kind.PROGRESS, time=time, message="copying", fraction=0.5)
    assert screen.lines == ["[WARNING]: mind the gap", "  copying (50%)", "  copying (50%)"]


def test_delegated_results_name_both_hosts():
    screen = Screen()
    screen(Kind.TASK_START, name="t", hosts=["a"])
    screen(Kind.RESULT, host="a", status="ok", result={}, action="x", seconds=0, delegated="b")
    assert screen.lines[-1] == "ok: [a -> b]"
