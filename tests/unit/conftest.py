"""`play`: runs a playbook's text with the engine, over nodes in memory."""

from __future__ import annotations

import tarfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from labctl import yaml
from labctl.engine.options import RunOptions, RunResult
from labctl.engine.run import run as engine_run
from labctl.errors import Unreachable
from labctl.events import Bus, Event, Kind
from labctl.inventory import load
from labctl.node.fake import FakeNode
from labctl.playbook import load_playbook
from labctl.task_types import Registry

DATA = Path(__file__).parent / "data"
TASKS = DATA / "tasks"


class FakeConnections:
    """A pool over FakeNodes; `dead` hosts are unreachable."""

    def __init__(self) -> None:
        self.nodes: dict[str, FakeNode] = {}
        self.dead: set[str] = set()
        self.dropped: list[str] = []
        self.closed = False
        self.users: list[tuple[str, str, str | None]] = []

    def node(self, settings, become=None):
        self.users.append((settings.host, settings.user, become.user if become else None))
        if settings.host in self.dead:
            raise Unreachable(f"{settings.host}: connection refused")
        if settings.host not in self.nodes:
            node = self.nodes[settings.host] = FakeNode(settings.host)
            node.on(lambda _argv: True)
        return self.nodes[settings.host]

    def idle(self, settings, become=None):
        return None

    def expect(self, hosts: int) -> None:
        pass

    def drop(self, host: str) -> None:
        self.dropped.append(host)

    def close(self) -> None:
        self.closed = True


@dataclass
class Ran:
    """What a run left: its result and every event."""

    result: RunResult | None
    events: list[Event]
    connections: FakeConnections
    error: Exception | None = None

    def of(self, kind: Kind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    @property
    def results(self) -> list[tuple[str, str, str]]:
        """(task, host, status) in the order they ended."""
        return [(e.task, e.host, e.data["status"]) for e in self.of(Kind.RESULT)]

    @property
    def log(self) -> str:
        """The results as 'task host status' lines, sorted within each task."""
        lines: list[list[str]] = []
        last = None
        for event in self.events:
            if event.kind is Kind.TASK_START:
                last = None
            if event.kind is Kind.RESULT:
                if event.task != last:
                    lines.append([])
                    last = event.task
                lines[-1].append(f"{event.task} {event.host} {event.data['status']}")
        return "\n".join(line for group in lines for line in sorted(group))

    def value(self, task: str, host: str = "a") -> dict[str, Any]:
        """The last result of a task on a host."""
        found = [e.data["result"] for e in self.of(Kind.RESULT) if (e.task, e.host) == (task, host)]
        assert found, f"{task} did not run on {host}: {self.results}"
        return found[-1]

    def recap(self, host: str = "a") -> dict[str, int]:
        assert self.result is not None
        return {name: n for name, n in self.result.stats[host].items() if n}


@dataclass
class Bench:
    folder: Path
    connections: FakeConnections = field(default_factory=FakeConnections)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def __call__(self, text: str, *, hosts: str = "a,b", inventory: str | None = None, **options: Any) -> Ran:
        stop = options.pop("stop", None)
        subscriber = options.pop("subscriber", None)
        book_path = self.write("site.yml", text)
        source = str(self.write("hosts.yml", inventory)) if inventory else f"{hosts},"
        registry = Registry([TASKS, self.folder / "tasks"])
        bus = Bus()
        ran = Ran(None, [], self.connections)
        bus.subscribe(ran.events.append)
        if subscriber:
            bus.subscribe(subscriber)
        extra = options.get("extra_vars") or {}
        book = load_playbook(str(book_path), registry, extra_vars=extra)
        ran.result = engine_run(
            book,
            load([source]),
            RunOptions(root=self.folder, **options),
            bus,
            registry=registry,
            connections=self.connections,
            stop=stop,
        )
        return ran


@pytest.fixture
def play(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def nobody_hears_of_doubled_keys():
    """What a command line in this process has set must not reach the next test."""
    yield
    yaml.tell_of_doubled_keys(None)


@pytest.fixture
def v2_host(tmp_path: Path) -> Path:
    """What the collector and the stressors read of a virtual machine with cgroup v2 alone (kernel 6.1), recorded while both
    ran there: `idle`, a container of one process with half a processor, 64 MiB without swap and 40 processes;
    `throttled`, after six seconds of two busy workers in it; `oom`, after a worker that took 4 MiB each 0.2 s
    was killed; `pids`, after forks until there were no more. Each has the files below /sys/fs/cgroup in
    `sys`, and some of /proc in `proc`; the container is labctl/shop.web, its process 94."""
    with tarfile.open(DATA / "cgroup-v2-host.tar.xz") as archive:
        archive.extractall(tmp_path / "host")
    return tmp_path / "host"
