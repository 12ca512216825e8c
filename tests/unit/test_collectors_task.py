"""The `collect` task and the collection behind it, with programs that run on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.errors import PlaybookError, TaskFailed
from labctl.node.api import Completed
from labctl.node.collection import command_line, find_collector
from labctl.paths import builtin
from labctl.task_types import Registry

TICKER = """
import json, signal, sys
print(json.dumps({"type": "header", "argv": sys.argv[1:]}), flush=True)
signal.sigwait({signal.SIGTERM})
print(json.dumps({"type": "end", "samples": 7, "late": 1, "missed": 0, "cpu_seconds": 0.02, "wall_seconds": 4.0}))
"""
BLOCK_FIRST = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"


class LocalStream:
    def __init__(self, process: subprocess.Popen[str], line: Any) -> None:
        self.process = process
        self.thread = threading.Thread(target=self._read, args=(line,))
        self.thread.start()

    def _read(self, line: Any) -> None:
        for text in self.process.stdout:
            line(text.rstrip("\n"))
        self.process.wait()

    @property
    def running(self) -> bool:
        return self.thread.is_alive()

    def stop(self, timeout: float = 5.0) -> Completed:
        self.process.terminate()
        self.thread.join(60)
        return Completed((), self.process.returncode, b"", self.process.stderr.read().encode(), 0.0, 0.0)


class LocalNode:
    host = "here"

    def start(self, program: bytes, arguments: list[str], *, line: Any, name: str) -> LocalStream:
        argv = [sys.executable, "-c", BLOCK_FIRST + program.decode(), *arguments]
        return LocalStream(
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), line
        )


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[SimpleNamespace]:
    closers: list[Any] = []
    (tmp_path / "collectors").mkdir()
    (tmp_path / "collectors" / "ticker.py").write_text(TICKER)
    yield SimpleNamespace(
        host="here",
        node=LocalNode(),
        run_dir=tmp_path / "run",
        playbook_dir=tmp_path,
        shared={},
        mark=None,
        on_close=closers.append,
        closers=closers,
    )
    for close in reversed(closers):
        close()


def collect(
    ctx: SimpleNamespace, *, check: bool = False, **arguments: Any
) -> tuple[dict[str, Any], list[Any]]:
    """Run the task as the engine does: (its values, its changes)."""
    task = Registry().get("collect")
    steps = task.run(task.bind(arguments, lambda _: None), ctx)
    changes: list[Any] = []
    given = None
    try:
        while True:
            change = steps.send(given)
            changes.append(change)
            given = None if check else change.apply()
    except StopIteration as stop:
        return stop.value, changes


def test_a_collectors_lines_land_in_the_runs_folder_and_its_cost_is_returned(ctx: SimpleNamespace) -> None:
    values, changes = collect(ctx, collector="ticker", args={"interval": 0.1, "pod": ["a", "b"]})
    assert len(changes) == 1
    assert values["path"] == str(ctx.run_dir / "ticker-here.jsonl")
    assert collect(ctx, collector="ticker")[1] == []  # it runs already
    values, _ = collect(ctx, collector="ticker", state="stopped")
    header, end = map(json.loads, Path(values["path"]).read_text().splitlines())
    assert header["argv"] == ["--host", "here", "--interval", "0.1", "--pod", "a", "--pod", "b"]
    assert end["samples"] == values["samples"] == 7
    assert (values["late"], values["missed"], values["overhead"]) == (1, 0, 0.5)


def test_one_collector_runs_twice_under_two_names(ctx: SimpleNamespace) -> None:
    collect(ctx, collector="ticker", name="one", dest="one.jsonl")
    collect(ctx, collector="ticker", name="two", dest="two.jsonl")
    assert collect(ctx, collector="ticker", name="one", state="stopped")[0]["path"].endswith("one.jsonl")
    assert collect(ctx, collector="ticker", name="two", state="stopped")[0]["path"].endswith("two.jsonl")


def test_a_collector_that_cannot_start_is_an_error_with_its_words(ctx: SimpleNamespace) -> None:
    (ctx.playbook_dir / "collectors" / "broken.py").write_text("raise SystemExit('no such cgroup')")
    with pytest.raises(TaskFailed, match="no such cgroup"):
        collect(ctx, collector="broken")


def test_a_collector_that_died_is_an_error_when_it_is_stopped(ctx: SimpleNamespace) -> None:
    collect(ctx, collector="ticker")
    stream = ctx.shared["collect"]["here", "ticker"]._stream
    stream.process.kill()
    stream.thread.join(60)
    with pytest.raises(TaskFailed, match="collector 'ticker' on here ended early"):
        collect(ctx, collector="ticker", state="stopped")


def test_what_still_runs_at_the_end_is_stopped_then(ctx: SimpleNamespace) -> None:
    collect(ctx, collector="ticker")
    process = ctx.shared["collect"]["here", "ticker"]._stream.process
    (close,) = ctx.closers
    assert "stopped collector ticker on here" in close()
    assert process.returncode == 0
    assert close() is None


def test_stopping_what_was_not_started_is_an_error(ctx: SimpleNamespace) -> None:
    collect(ctx, collector="ticker")
    with pytest.raises(TaskFailed) as caught:
        collect(ctx, collector="ticker", name="tikcer", state="stopped")
    assert caught.value.hint == "did you mean 'ticker'?"


def test_a_dry_run_starts_nothing(ctx: SimpleNamespace) -> None:
    _, (started,) = collect(ctx, collector="ticker", check=True)
    assert (started.before, started.after) == ("stopped", "ticker")
    values, (stopped,) = collect(ctx, collector="ticker", state="stopped", check=True)
    assert (values, stopped.after) == ({}, "stopped")
    assert not ctx.run_dir.exists()


def test_a_collector_beside_the_playbook_wins(ctx: SimpleNamespace) -> None:
    assert find_collector("cgroup", ctx.playbook_dir) == builtin("collectors") / "cgroup.py"
    own = ctx.playbook_dir / "collectors" / "cgroup.py"
    own.write_text("")
    assert find_collector("cgroup", ctx.playbook_dir) == own
    with pytest.raises(PlaybookError) as caught:
        find_collector("cgruop", ctx.playbook_dir)
    assert caught.value.hint == "did you mean 'cgroup'?"


def test_arguments_become_options() -> None:
    given = {"period": 0.02, "dry_run": True, "quiet": False, "none": None, "url": ["a", "b"]}
    assert command_line(given) == ["--period", "0.02", "--dry-run", "--url", "a", "--url", "b"]
