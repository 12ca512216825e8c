"""The forms of output beside plain: dense, YAML and JUnit."""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

import pytest
import yaml

from labctl.console.dense import DenseConsole
from labctl.console.junit import Junit
from labctl.console.yamldoc import YamlDocument, scalar
from labctl.events import Event, Kind


def run():
    """The events of two tasks on two hosts."""
    result = {"msg": "it broke:\x1b[2J\nbadly", "rc": 1, "stdout": "so far\n"}
    yield Event(Kind.RUN_START, {"check": False})
    yield Event(Kind.PLAY_START, {"name": "web: tier", "hosts": ["a", "b"]}, "web: tier")
    yield Event(Kind.TASK_START, {"name": "one", "path": "site.yml:3", "hosts": ["a", "b"]}, "p", "one")
    yield Event(
        Kind.RESULT, {"status": "ok", "result": {"changed": False}, "seconds": 0.1}, "p", "one", "a", 1.0
    )
    yield Event(
        Kind.RESULT, {"status": "changed", "result": {"changed": True}, "seconds": 2.5}, "p", "one", "b", 2.0
    )
    yield Event(Kind.TASK_START, {"name": "two", "path": "site.yml:7", "hosts": ["a", "b"]}, "p", "two")
    skipped = {"status": "skipped", "result": {"skip_reason": "no", "false_condition": "x > 1"}}
    yield Event(Kind.RESULT, skipped, "p", "two", "a", 3.0)
    failed = {"status": "failed", "result": result, "seconds": 0.2, "mark": "site.yml:7:5", "excerpt": ""}
    yield Event(Kind.RESULT, failed, "p", "two", "b", 4.0)
    yield Event(Kind.STATS, {"hosts": {"a": {"ok": 1, "skipped": 1}, "b": {"failed": 1}}})
    yield Event(Kind.RUN_END, {"exit_code": 2, "seconds": 4.0, "run_dir": "runs/x"})


def test_dense_is_one_line_a_task_and_says_what_failed():
    lines: list[str] = []
    console = DenseConsole(lines.append)
    for event in run():
        console(event)
    console.close()
    assert lines[0] == "PLAY web: tier"
    assert lines[1].split() == ["one", "ok:", "a", "changed:", "b", "2.5s"]
    assert lines[2].split() == ["two", "failed:", "b", "skipped:", "a"]
    assert "fatal: [b]: FAILED!" in lines[3]
    assert any("ok=1" in line for line in lines)
    assert not any("TASK [" in line for line in lines)


def test_dense_names_a_few_hosts_and_counts_the_rest():
    lines: list[str] = []
    console = DenseConsole(lines.append)
    hosts = [f"h{number}" for number in range(9)]
    console(Event(Kind.TASK_START, {"name": "t", "hosts": hosts}, "p", "t"))
    for host in hosts:
        console(Event(Kind.RESULT, {"status": "ok", "result": {}, "seconds": 0}, "p", "t", host))
    assert lines[-1].endswith("ok: h0 h1 h2 h3 +5")


def test_yaml_is_valid_after_every_event():
    stream = io.StringIO()
    document = YamlDocument(stream)
    for event in run():
        document(event)
        document.flush()
        yaml.safe_load(stream.getvalue())
    found = yaml.safe_load(stream.getvalue())
    assert found[0] == {"play": "web: tier", "hosts": ["a", "b"]}
    assert found[2] == {
        "task": "one",
        "host": "b",
        "status": "changed",
        "seconds": 2.5,
        "result": {"changed": True},
    }
    assert found[4]["result"] == {"msg": "it broke:\x1b[2J\nbadly", "rc": 1, "stdout": "so far\n"}
    assert found[-1]["end"]["exit_code"] == 2


WORDS = [
    "=",
    "y",
    "N",
    "~",
    "#",
    "{",
    "yes",
    "null",
    "1.5",
    "0x1f",
    "é",
    "1e3",
    "2020-01-01",
    ".inf",
    "<<",
    "12:30:45",
    "/etc/x",
    "trailing:",
    "a,b",
]


@pytest.mark.parametrize(
    "value", [*WORDS, "", " x", "a: b", "- a", "x #y", "a\tb", "'", '"', "a b", "x ", True, 3, None]
)
def test_yaml_scalars_come_back_as_they_were(value):
    found = yaml.safe_load(f"- {scalar(value)}\n")[0]
    assert (found, type(found)) == (value, type(value))


def test_junit_has_a_case_for_each_task_on_a_host():
    written: list[str] = []
    report = Junit(written.append)
    for event in run():
        report(event)
    report.close()
    assert len(written) == 1
    root = ET.fromstring(written[0])
    assert {name: root.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "skipped": "1",
    }
    (suite,) = root
    names = [(case.get("name"), case.get("classname")) for case in suite]
    assert names[0] == ("[a] one", "site.yml:3")
    failure = suite[3].find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == (
        "failed",
        "it broke:�[2J\nbadly",
    )
    assert "at site.yml:7:5" in (failure.text or "")
    assert suite[2].find("skipped").get("message") == "no: x > 1"
    assert suite[3].findtext("system-out") == "so far\n"
