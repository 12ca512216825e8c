"""A run as a JUnit XML report: a test suite for each play, a test case for each task on a host."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

from labctl.console.text import result_lines
from labctl.events import Event, Kind, Status
from labctl.records import dataclass, field

_BAD = (Status.FAILED, Status.UNREACHABLE)


@dataclass
class _Suite:
    """One play and the results in it, in order."""

    name: str
    began: float
    ended: float = 0.0
    cases: list[tuple[Event, str]] = field(default_factory=list)


class Junit:
    """Subscriber that hands the whole report to `write` when the run has ended. Failed and unreachable are
    failures; unreachable ones have the type 'unreachable'. What a dry run cannot know is skipped."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._suites: list[_Suite] = []
        self._places: dict[str, str] = {}
        self._written = False

    def __call__(self, event: Event) -> None:
        if event.kind is Kind.PLAY_START:
            self._suites.append(_Suite(str(event.data.get("name") or ""), event.time, event.time))
        elif event.kind is Kind.TASK_START and event.task:
            self._places[event.task] = str(event.data.get("path") or "")
        elif event.kind is Kind.RESULT:
            if not self._suites:
                self._suites.append(_Suite(event.play or "", event.time))
            suite = self._suites[-1]
            suite.ended = event.time
            suite.cases.append((event, self._places.get(event.task or "", "")))
        elif event.kind is Kind.RUN_END:
            self.close()

    def close(self) -> None:
        if not self._written:
            self._written = True
            self._write(self.report())

    def report(self) -> str:
        root = ET.Element("testsuites")
        for suite in self._suites:
            root.append(_suite(suite))
        for name in ("tests", "failures", "errors", "skipped"):
            root.set(name, str(sum(int(each.get(name, "0")) for each in root)))
        ET.indent(root)
        text = ET.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(suite: _Suite) -> ET.Element:
    element = ET.Element("testsuite", name=_text(suite.name))
    cases = [_case(event, place, suite) for event, place in suite.cases]
    element.extend(cases)
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    element.set("errors", "0")
    element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    element.set("time", f"{max(0.0, suite.ended - suite.began):.3f}")
    element.set("timestamp", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(suite.began)))
    return element


def _case(event: Event, place: str, suite: _Suite) -> ET.Element:
    case = ET.Element(
        "testcase",
        name=_text(f"[{event.host}] {event.task or ''}"),
        classname=_text(place or suite.name),
        time=f"{event.data.get('seconds') or 0.0:.3f}",
    )
    result = event.data.get("result") or {}
    status = Status(event.data["status"])
    if status in _BAD:
        message = _text(str(result.get("msg") or status))
        failure = ET.SubElement(case, "failure", message=message, type=str(status))
        mark = event.data.get("mark")
        lines = [*result_lines(result, everything=False, indent=0), *([f"at {mark}"] if mark else [])]
        failure.text = _text("\n".join(lines))
    elif status is Status.SKIPPED:
        reason = str(result.get("skip_reason") or result.get("msg") or "")
        condition = result.get("false_condition")
        ET.SubElement(case, "skipped", message=_text(f"{reason}: {condition}" if condition else reason))
    elif status is Status.UNKNOWN:
        ET.SubElement(
            case, "skipped", message=_text(f"unknown: {event.data.get('unknown') or result.get('msg', '')}")
        )
    for name, tag in (("stdout", "system-out"), ("stderr", "system-err")):
        if text := result.get(name):
            ET.SubElement(case, tag).text = _text(str(text))
    return case


def _text(text: str) -> str:
    """Text without the characters XML has no way to hold."""
    return "".join(c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd" for c in text)
