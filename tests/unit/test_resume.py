"""`--resume`: each host goes on where it stopped, with what it knew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labctl.engine import resume
from labctl.errors import PlaybookError, UsageError
from labctl.events import Kind

HEAD = "- name: p\n  hosts: all\n  gather_facts: false\n  tasks:\n"


def book(*tasks: str, more: str = "") -> str:
    return HEAD + "".join(f"    - {task}\n" for task in tasks) + more


ONE = "{name: one, probe: x, register: r}"
FAILS_ON_B = "{name: two, probe: {text: 'y {{ r.count }}', fail_on: '{{ bad }}'}}"
BAD, GOOD = {"bad": ["b"]}, {"bad": []}
THREE = "{name: three, probe: '{{ r.text }} {{ f | default(0) }}'}"


def again(play, ran, text, **options):
    return play(text, resume=ran.result.run_dir, **options)


def test_each_host_goes_on_where_it_stopped(play):
    ran = play(book(ONE, FAILS_ON_B, THREE), extra_vars=BAD)
    assert ran.log == "one a ok\none b ok\ntwo a ok\ntwo b failed\nthree a ok"
    more = again(play, ran, book(ONE, FAILS_ON_B, THREE), extra_vars=GOOD)
    assert more.log == "two b ok\nthree b ok"
    assert more.value("three", "b")["text"] == "x 0"
    assert (more.recap("b"), more.result.exit_code) == ({"ok": 2}, 0)
    assert "a" not in more.result.stats


def test_a_resumed_run_can_be_resumed(play):
    text = book(ONE, FAILS_ON_B, THREE)
    ran = play(text, extra_vars=BAD)
    ran = again(play, ran, text, extra_vars=BAD)
    assert ran.log == "two b failed"
    ran = again(play, ran, text, extra_vars=GOOD)
    assert ran.log == "two b ok\nthree b ok"


def test_variables_loops_and_facts_are_restored(play):
    tasks = (
        "{name: one, set_fact: {f: '{{ [1, 2] }}'}}",
        "{name: loop, probe: '{{ item }}', loop: '{{ f }}', register: l}",
        "{name: facts, setup: }",
        "{name: stop, probe: {fail: true}}",
        "{name: use, probe: '{{ [f, l.results | map(attribute=\"text\") | list, ansible_facts.system] }}'}",
    )
    ran = play(book(*tasks[:2], *tasks[3:]), hosts="a")
    more = again(play, ran, book(*tasks[:2], tasks[4].replace(", ansible_facts.system", "")), hosts="a")
    assert more.log == "use a ok"
    assert more.value("use")["text"] == [[1, 2], [1, 2]]


def test_handlers_that_were_notified_still_run_and_those_that_ran_do_not(play):
    text = """
        - hosts: a
          gather_facts: false
          tasks:
            - {name: one, probe: {changed: true}, notify: early}
            - meta: flush_handlers
            - {name: two, probe: {changed: true}, notify: late}
            - {name: stop, probe: {fail: %s}}
          handlers: [{name: early, probe: x}, {name: late, probe: x}]
        """
    ran = play(text % "true")
    assert ran.log == "one a changed\nearly a ok\ntwo a changed\nstop a failed"
    assert again(play, ran, text % "false").log == "stop a ok\nlate a ok"


def test_always_of_a_block_runs_again_with_what_it_cleans_up_after(play):
    text = book(
        "block: [{name: in, probe: x}, {name: stop, probe: {fail: %s}}]\n      always: [{name: tidy, probe: x}]"
    )
    ran = play(text % "true", hosts="a")
    assert ran.log == "in a ok\nstop a failed\ntidy a ok"
    assert again(play, ran, text % "false", hosts="a").log == "stop a ok\ntidy a ok"


def test_rescued_and_ignored_failures_are_not_tried_again(play):
    text = book(
        "{name: ignored, probe: {fail: true}, ignore_errors: true, register: i}",
        "block: [{name: fails, probe: {fail: true}}]\n"
        "      rescue: [{name: told, probe: '{{ ansible_failed_result.rc }}'}, {name: stop, probe: {fail: %s}}]",
        "{name: end, probe: '{{ i.rc }} {{ i is failed }}'}",
    )
    ran = play(text % "true", hosts="a")
    more = again(play, ran, text % "false", hosts="a")
    assert more.log == "stop a ok\nend a ok"
    assert more.value("end")["text"] == "7 True"


def test_tasks_of_dynamic_includes_and_turns_of_blocks_are_known(play):
    play.write("part.yml", "- {name: 'part {{ n }}', probe: '{{ n }}'}")
    text = book(
        "{include_tasks: part.yml, loop: [1, 2], loop_control: {loop_var: n}}",
        "block: [{name: turn, probe: {text: '{{ item }}', fail: '{{ item == 2 and stop | bool }}'}}]\n"
        "      loop: [1, 2, 3]",
    )
    ran = play(text, hosts="a", extra_vars={"stop": True})
    more = again(play, ran, text, hosts="a", extra_vars={"stop": False})
    done = [task for task, _host, _status in more.results]
    assert done == ["turn", "turn"]
    assert [e.data["result"]["text"] for e in more.of(Kind.RESULT)] == [2, 3]


def test_task_done_once_for_all_is_not_done_by_another(play):
    text = book(
        "{name: once, probe: {text: x}, run_once: true, register: o}",
        "{name: use, probe: '{{ o.acted_on }}'}",
    )
    text += "    - {name: stop, probe: {fail: %s}}\n"
    ran = play(text % "true")
    more = again(play, ran, text % "false", hosts="b,a")
    assert more.log == "stop a ok\nstop b ok"


def test_changed_task_that_was_done_is_refused_by_name(play):
    ran = play(book(ONE, FAILS_ON_B, THREE), extra_vars=BAD)
    with pytest.raises(PlaybookError, match=r"its task 'one' \(.*site.yml:5:7\) was done there") as error:
        again(play, ran, book(ONE.replace("probe: x", "probe: z"), FAILS_ON_B, THREE), extra_vars=GOOD)
    assert "without --resume" in error.value.hint
    moved = "# a comment\n" + book(ONE.replace("name: one", "name: uno"), FAILS_ON_B, THREE)
    assert again(play, ran, moved, extra_vars=GOOD).log == "two b ok\nthree b ok"


def test_task_that_stopped_a_host_may_be_mended(play):
    ran = play(book(ONE, FAILS_ON_B, THREE), extra_vars=BAD)
    more = again(play, ran, book(ONE, "{name: two, probe: mended}", THREE))
    assert more.log == "two a ok\ntwo b ok\nthree a ok\nthree b ok"


def test_changed_include_is_refused_too(play):
    play.write("part.yml", "- {name: part, probe: x}")
    text = book("{include_tasks: part.yml}", "{name: stop, probe: {fail: true}}")
    ran = play(text, hosts="a")
    play.write("part.yml", "- {name: part, probe: y}")
    with pytest.raises(PlaybookError, match="its task 'part'"):
        again(play, ran, text, hosts="a")


def test_what_no_log_hides_is_never_kept_and_runs_again(play):
    text = book(
        "{name: token, probe: {text: hunter2}, no_log: true, register: t}",
        "{name: quiet, probe: {text: hunter2}, no_log: true}",
        "{name: masked, probe: {text: a, password: hunter2}, register: m}",
        "{name: stop, probe: {fail: %s}}",
        "{name: use, probe: {text: '{{ t.text == \"hunter2\" }}'}}",
    )
    ran = play(text % "true", hosts="a")
    kept = (ran.result.run_dir / "resume.jsonl").read_text()
    assert "hunter2" not in kept
    assert (ran.result.run_dir / "resume.jsonl").stat().st_mode & 0o777 == 0o600
    more = again(play, ran, text % "false", hosts="a")
    assert more.log == "token a ok\nmasked a ok\nstop a ok\nuse a ok"
    assert more.value("use")["text"] is True


def test_line_cut_off_by_a_crash_is_left_out(play):
    ran = play(book(ONE, FAILS_ON_B, THREE), hosts="b", extra_vars=BAD)
    path = ran.result.run_dir / "resume.jsonl"
    path.write_text(path.read_text() + '{"host": "b", "pl')
    assert (
        again(play, ran, book(ONE, FAILS_ON_B, THREE), hosts="b", extra_vars=GOOD).log
        == "two b ok\nthree b ok"
    )


def test_runs_are_found_by_name_and_refused_with_the_reason(play, tmp_path):
    with pytest.raises(UsageError, match="no runs below"):
        resume.find("last", tmp_path)
    failed = play(book("{name: stop, probe: {fail: true}}")).result.run_dir
    assert resume.find("last", tmp_path).folder == failed.resolve()
    assert resume.find(failed.name, tmp_path).folder == failed.resolve()
    assert resume.find(str(failed), Path("/nowhere")).folder == failed.resolve()
    with pytest.raises(UsageError) as error:
        resume.find(failed.name + "x", tmp_path)
    assert failed.name in error.value.hint
    for options, why in (({"check": True}, "dry run"), ({}, "ended well")):
        good = play(book("{name: fine, probe: x}"), **options).result.run_dir
        with pytest.raises(UsageError, match=why):
            resume.find(good.name, tmp_path)


def test_run_that_still_runs_is_refused(play, tmp_path):
    seen = []

    def look(event):
        if event.kind is Kind.RESULT:
            (folder,) = {path.parent for path in tmp_path.glob("runs/2*/run.json")}
            seen.append(resume.Earlier.of(folder).reason)

    play(book("{name: one, probe: x}"), hosts="a", subscriber=look)
    assert seen == ["it is still running"]


def test_head_says_what_was_resumed(play):
    ran = play(book("{name: stop, probe: {fail: true}}"))
    more = again(play, ran, book("{name: stop, probe: {fail: true}}"))
    assert json.loads((more.result.run_dir / "run.json").read_text())["resumes"] == str(ran.result.run_dir)
