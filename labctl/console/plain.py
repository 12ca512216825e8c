"""Events as scrolled lines, in the order and words of Ansible's output.

Successes print at once; failures wait for the end of their task, so that the same failure on many hosts
prints once. What a long command prints is shown while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from labctl.console.text import Paint, block, clean, diff_lines, duration, result_lines
from labctl.events import Event, Kind, Status

LIVE_AFTER = 3.0  # seconds a command runs before its output is shown as it comes
TIMED_FROM = 2.0  # seconds from which a result says how long it took
PROGRESS_EVERY = 10.0  # seconds between lines of the same measured progress
_COLUMNS = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored")
_BAD = frozenset({Status.FAILED, Status.UNREACHABLE, Status.RESCUED, Status.IGNORED})


class PlainConsole:
    """Subscriber that writes lines. `write` gets each line without its newline; a `flush` it has is called
    when the run is about to wait."""

    def __init__(
        self, write: Callable[[str], None], *, verbosity: int = 0, colour: bool = False, width: int = 80
    ) -> None:
        self._write = write
        self._paint = Paint(on=colour)
        self._verbosity = verbosity
        self._width = min(max(width, 40), 110)
        self._began: dict[str, float] = {}
        self._warned: set[tuple[str, str]] = set()
        self._progressed: dict[str, float] = {}
        self._held: dict[str, list[str]] = {}
        self._bad: list[Event] = []
        self._failures: dict[tuple[str, str, str], tuple[list[str], Event]] = {}
        self._hosts_left = 0
        self._free: dict[str | None, Event] = {}  # tasks that have begun where hosts go on by themselves
        self._task: str | None = None  # the last that was named
        self._dry = False
        self._handlers = {kind: getattr(self, f"_on_{kind}", None) for kind in Kind}

    def close(self) -> None:
        self._flush_bad()
        self.flush()

    def flush(self) -> None:
        if (flush := getattr(self._write, "flush", None)) is not None:
            flush()

    def __call__(self, event: Event) -> None:
        if (handler := self._handlers[event.kind]) is not None:
            handler(event)

    # what is going on

    def _banner(self, text: str) -> None:
        self._write("")
        self._write(self._paint("head", f"{text} {'*' * max(3, self._width - len(text) - 1)}"))

    def _on_run_start(self, event: Event) -> None:
        self._dry = bool(event.data.get("check"))
        if self._dry:
            self._write("DRY RUN: the nodes' real state is read, nothing is changed")

    def _on_play_start(self, event: Event) -> None:
        self._flush_bad()
        self._free.clear()
        self._banner(f"PLAY [{event.data.get('name') or ''}]")
        if not event.data.get("hosts"):
            self._write(self._paint("skipped", "skipping: no hosts matched"))

    def _on_task_start(self, event: Event) -> None:
        self._flush_bad()
        hosts = event.data.get("hosts") or ()
        for host in hosts:
            self._began.pop(host, None)
            self._held.pop(host, None)
        if event.data.get("free"):
            self._hosts_left = 0
            self._free[event.task] = event
            return
        self._free.clear()
        self._hosts_left = len(hosts)
        self._task_banner(event)

    def _under(self, event: Event) -> None:
        """Where hosts go on by themselves, the task is named when something has come of it."""
        if event.task in self._free and event.task != self._task:
            self._task_banner(self._free[event.task])

    def _task_banner(self, event: Event) -> None:
        self._task = event.task
        word = "RUNNING HANDLER" if event.data.get("handler") else "TASK"
        self._banner(f"{word} [{event.data.get('name') or event.task or ''}]")
        if self._verbosity >= 2 and event.data.get("path"):
            self._write(self._paint("dim", f"task path: {event.data['path']}"))

    def _on_host_start(self, event: Event) -> None:
        if event.host:
            self._began[event.host] = event.time

    def _on_output(self, event: Event) -> None:
        host = event.host or ""
        lines = self._held.setdefault(host, [])
        lines.extend(clean(str(event.data.get("text", ""))).splitlines())
        if self._verbosity >= 1 or event.time - self._began.get(host, event.time) >= LIVE_AFTER:
            self._under(event)
            for line in lines:
                self._write(self._paint("dim", f"  {host} | {line}"))
            lines.clear()

    def _on_progress(self, event: Event) -> None:
        fraction = event.data.get("fraction")
        last = self._progressed.get(event.host or "", 0.0)
        if isinstance(fraction, int | float) and 0 < fraction < 1 and event.time - last < PROGRESS_EVERY:
            return
        self._progressed[event.host or ""] = event.time
        share = f" ({fraction:.0%})" if isinstance(fraction, int | float) else ""
        where = f"{event.host} | " if event.host else ""
        self._write(self._paint("dim", f"  {where}{event.data.get('message', '')}{share}"))

    def _on_phase(self, event: Event) -> None:
        detail = event.data.get("detail") or {}
        more = "  ".join(f"{key}={value}" for key, value in detail.items())
        seconds = event.data.get("seconds")
        took = duration(seconds) if isinstance(seconds, int | float) else "-"
        text = f"  phase {event.data.get('subject', '')}: {event.data.get('name', '')}  {took}  {more}"
        self._write(text.rstrip())

    def _on_retry(self, event: Event) -> None:
        self._under(event)
        left = event.data.get("retries", 0) - event.data.get("attempt", 0) + 1
        self._write(
            self._paint(
                "dim", f"FAILED - RETRYING: [{event.host}]: {event.task or ''} ({left} retries left)."
            )
        )

    def _on_include(self, event: Event) -> None:
        hosts = ", ".join(event.data.get("hosts") or ())
        self._under(event)
        item = event.data.get("item")
        turn = "" if item is None else f" => (item={item})"
        self._write(self._paint("skipped", f"included: {event.data.get('file', '')} for {hosts}{turn}"))

    def _on_notify(self, event: Event) -> None:
        if self._verbosity >= 2:
            self._write(self._paint("dim", f"  {event.host} | notified handler {event.data.get('handler')}"))

    def _on_warning(self, event: Event) -> None:
        mark = event.data.get("mark")
        if (said := (str(mark), str(event.data.get("message")))) in self._warned:
            return
        self._warned.add(said)
        where = f"{mark}: " if mark else f"{event.host}: " if event.host else ""
        self._write(self._paint("warning", f"[WARNING]: {where}{event.data.get('message', '')}"))

    def _on_message(self, event: Event) -> None:
        self._write(str(event.data.get("message", "")))

    # results

    def _on_item(self, event: Event) -> None:
        status = Status(event.data["status"])
        if status is Status.SKIPPED and self._verbosity < 1:
            return
        self._result(event, status, f" => (item={event.data.get('label')})", bad_now=True)

    def _on_result(self, event: Event) -> None:
        status = event.data["status"]
        status = status if type(status) is Status else Status(status)
        looped = "results" in (event.data.get("result") or ())
        if status in _BAD:
            self._bad.append(event)
        elif not looped or status is Status.SKIPPED or self._verbosity >= 2:
            self._result(event, status, "")
        self._hosts_left -= 1
        if self._hosts_left <= 0:
            self._flush_bad()

    def _result(self, event: Event, status: Status, suffix: str, *, bad_now: bool = False) -> None:
        data, paint = event.data, self._paint
        result: Mapping[str, Any] = data.get("result") or {}
        seconds = data.get("seconds") or 0.0
        took = paint("dim", f"  ({duration(seconds)})") if seconds >= TIMED_FROM else ""
        word = "skipping" if status is Status.SKIPPED else str(status)
        if status is Status.UNKNOWN:
            suffix += f" => {data.get('unknown') or result.get('msg', '')}"
        elif status is Status.SKIPPED and self._verbosity >= 1 and "skip_reason" in result:
            condition = result.get("false_condition")
            suffix += f" => {result['skip_reason']}" + (f": {condition}" if condition else "")
        style = status
        self._under(event)
        self._write(paint(style, f"{word}: [{_where(event)}]{suffix}") + took)
        if self._dry:
            for line in self._dry_changes(event, status):
                self._write(paint("changed", line))
        always = status is Status.OK and _speaks(data.get("action"), result)
        if bad_now and status in _BAD:
            for line in result_lines(result, everything=self._verbosity >= 1):
                self._write(paint(style, line))
        elif always or (self._verbosity >= self._shown_from(event) and status is not Status.SKIPPED):
            for line in result_lines(result, everything=True):
                self._write(paint(style if always else "dim", line))
        if data.get("diff"):
            self._show_diff(event)

    @staticmethod
    def _shown_from(event: Event) -> int:
        """The verbosity that shows a result; that of gathered facts fills screens."""
        return 3 if event.data.get("action") in ("setup", "gather_facts") else 1

    def _dry_changes(self, event: Event, status: Status) -> list[str]:
        if status not in (Status.CHANGED, Status.UNKNOWN):
            return []
        word = "would change" if status is Status.CHANGED else "may change"
        return [f"    {word}: {clean(str(change))}" for change in event.data.get("changes") or ()]

    def _show_diff(self, event: Event) -> None:
        for change in event.data.get("diff") or ():
            if isinstance(change, Mapping):
                for style, line in diff_lines(change):
                    self._write("    " + self._paint(style, line))

    # failures

    def _flush_bad(self) -> None:
        groups: dict[str, list[Event]] = {}
        for event in self._bad:
            groups.setdefault(f"{event.data['status']} {_essence(event)}", []).append(event)
        self._bad.clear()
        for events in groups.values():
            self._failure(events)

    def _failure(self, events: list[Event]) -> None:
        first = events[0]
        status = Status(first.data["status"])
        result: Mapping[str, Any] = first.data.get("result") or {}
        hosts = [event.host or "" for event in events]
        shown = ", ".join(_where(event) for event in events)
        word = "UNREACHABLE!" if result.get("unreachable") else "FAILED!"
        style = "unreachable" if result.get("unreachable") else "failed"
        self._under(first)
        self._write(self._paint(style, f"fatal: [{shown}]: {word}"))
        for line in result_lines(result, everything=self._verbosity >= 1):
            self._write(self._paint(style, line))
        if (mark := first.data.get("mark")) and self._verbosity < 1:
            self._write(self._paint("dim", f"    at {mark}"))
        self._show_diff(first)
        if status is Status.IGNORED:
            self._write(self._paint("ignored", "...ignoring"))
        elif status is Status.RESCUED:
            self._write(self._paint("rescued", "...rescuing"))
        else:
            key = (first.data.get("mark") or "", first.task or "", _essence(first))
            self._failures.setdefault(key, ([], first))[0].extend(hosts)

    # the end

    def _on_stats(self, event: Event) -> None:
        self._flush_bad()
        hosts: Mapping[str, Mapping[str, int]] = event.data.get("hosts") or {}
        if not hosts:
            return
        self._banner("PLAY RECAP")
        columns = [*_COLUMNS, "unknown"] if self._dry else list(_COLUMNS)
        width = max([24, *(len(name) for name in hosts)])
        for name, counts in hosts.items():
            cells = []
            for column in columns:
                count = counts.get(column, 0)
                cell = f"{column}={count}".ljust(len(column) + 5)
                cells.append(self._paint(column, cell) if count else cell)
            self._write(f"{name.ljust(width)} : {''.join(cells)}".rstrip())
        self._custom(event.data.get("custom") or {})
        self._summary()

    def _custom(self, custom: Mapping[str, Mapping[str, Any]]) -> None:
        """The figures set_stats noted: a line for each host, and one for the run."""
        if custom:
            self._banner("CUSTOM STATS")
        for name in [*sorted(custom.keys() - {"_run"}), *(["_run"] if "_run" in custom else [])]:
            figures = json.dumps(custom[name], default=str, sort_keys=True)
            self._write(f"{'RUN' if name == '_run' else name}: {figures}")

    def _summary(self) -> None:
        if not self._failures:
            return
        self._write("")
        self._write(self._paint("failed", "FAILURES"))
        for (mark, task, _), (hosts, event) in self._failures.items():
            unique = list(dict.fromkeys(hosts))
            self._write(f"  {task}  on {', '.join(unique)}")
            if mark:
                self._write(f"    {mark}")
            for line in str(event.data.get("excerpt") or "").splitlines():
                self._write(f"    {line}")
            message = str((event.data.get("result") or {}).get("msg", ""))
            for line in clean(message).splitlines()[:6]:
                self._write(self._paint("failed", f"    {line}"))

    def _on_run_end(self, event: Event) -> None:
        self._flush_bad()
        undone = event.data.get("undone") or ()
        if undone:
            self._write("")
            self._write("undone before leaving:")
            for line in undone:
                self._write(f"  - {line}")
        if self._verbosity >= 1 and event.data.get("self"):
            self._write("")
            for line in block({"labctl itself": event.data["self"]}, 0):
                self._write(self._paint("dim", line))


def _speaks(action: Any, result: Mapping[str, Any]) -> bool:
    """Whether it is there to say something."""
    return action == "debug" or (action == "assert" and result.get("msg") != "All assertions passed")


def _where(event: Event) -> str:
    """The host, and the one the task was delegated to."""
    target = event.data.get("delegated")
    return f"{event.host} -> {target}" if target else event.host or ""


def _essence(event: Event) -> str:
    """What makes two failures the same: everything the user would read, but times."""
    result = dict(event.data.get("result") or {})
    for key in ("start", "end", "delta", "results", "diff"):
        result.pop(key, None)
    return json.dumps(result, sort_keys=True, default=str)
