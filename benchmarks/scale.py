"""Many hosts, simulated: what each one costs labctl's controller, and whether the cost grows with their number alone.

    .venv/bin/python -P -m benchmarks.scale

The real engine with its journal and its console (whose lines go nowhere) runs a playbook whose tasks find everything
as it should be, over nodes in memory (`labctl.node.fake`): what a connection and its agent cost is not in it. Every size
runs in a process of its own. See scale.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import correlation, linear_regression
from typing import Any, cast

from labctl.node.fake import Call, FakeNode

SIZES = (1000, 2500, 5000, 10_000)
RACK = 50
STEEPEST = 1.1  # of growth on logarithmic axes: 1 is linear, 2 would be quadratic
_KINDS = """\
    - {name: "command NN", command: uptime -p, register: said, changed_when: false}
    - {name: "copy NN", copy: {dest: /etc/app/app.conf, content: "port = {{ port }}\\n", mode: "0644"}}
    - {name: "debug NN", debug: {msg: "{{ inventory_hostname }} listens on {{ port }}"}}
    - {name: "set_fact NN", set_fact: {"known_NN": "{{ inventory_hostname }}:{{ port }}"}}
    - {name: "file NN", file: {path: /etc/app, state: directory, mode: "0755"}, when: said.rc == 0}
"""


@dataclass(frozen=True)
class Point:
    """One size. CPU in seconds (user and system) of the run and of what was read before it, memory in bytes:
    the peak of the process after a small run, and after this one. `folder`: bytes of the run's folder."""

    hosts: int
    tasks: int
    cpu: float
    wall: float
    read_cpu: float
    memory_before: int
    memory: int
    folder: int

    @property
    def per_task(self) -> float:
        """Microseconds of CPU for a task on a host."""
        return self.cpu / (self.hosts * self.tasks) * 1e6

    @property
    def per_host(self) -> float:
        """KiB of memory for a host."""
        return (self.memory - self.memory_before) / self.hosts / 1024


class Node(FakeNode):
    """A host where all is done. They share one file system, as nothing is written, and keep no log."""

    def named(self, host: str) -> Node:
        node = copy.copy(self)
        node._host = host  # noqa: SLF001
        return node

    def _note(self, op: str, **arguments: Any) -> None:
        pass


class Nodes:
    """Stands where a run's `Connections` stand."""

    def __init__(self) -> None:
        self._pattern = Node()
        self._pattern.log = cast("list[Call]", ())
        self._pattern.add_directory("/etc/app", mode=0o755)
        self._pattern.add_file("/etc/app/app.conf", b"port = 22\n", mode=0o644)
        self._pattern.on(["uptime", "-p"], stdout=b"up 4 weeks, 2 days\n")
        self._nodes: dict[str, Node] = {}

    def node(self, settings: Any, _become: object = None) -> Node:
        if settings.host not in self._nodes:
            self._nodes[settings.host] = self._pattern.named(settings.host)
        return self._nodes[settings.host]

    def idle(self, settings: Any, become: Any = None) -> None:
        """None of them is asked without waiting for it."""

    def expect(self, hosts: int) -> None:
        """They need no worker processes."""

    def drop(self, host: str) -> None:
        self._nodes.pop(host, None)

    def close(self) -> None:
        self._nodes.clear()


def playbook(tasks: int) -> str:
    lines = "".join(_KINDS.replace("NN", f"{number:02}") for number in range(1, tasks // 5 + 1))
    return f"- hosts: all\n  gather_facts: false\n  tasks:\n{lines}"


@dataclass(frozen=True)
class _Done:
    """One run: CPU of reading and of the run, seconds, and the bytes it wrote."""

    read: float
    cpu: float
    wall: float
    written: int


def _once(hosts: int, tasks: int, forks: int, folder: Path) -> _Done:
    """Ends the process when anything was left undone."""
    from labctl.cli.run import registry_for
    from labctl.console.plain import PlainConsole
    from labctl.engine.options import RunOptions
    from labctl.engine.run import run
    from labctl.events import Bus
    from labctl.inventory import load
    from labctl.playbook import load_playbook

    folder.mkdir()
    book, inventory = folder / "site.yml", folder / "hosts"
    book.write_text(playbook(tasks))
    names = [f"host[{number:03}01:{number:03}50]" for number in range(hosts // RACK)]
    racks = "".join(f"[rack{number}]\n{name}\n" for number, name in enumerate(names))
    inventory.write_text("\n".join(["[all:vars]", "port=22", "[fleet]", *names, racks]))
    registry, bus, began = registry_for([book]), Bus(), _cpu()
    with open(os.devnull, "w") as nowhere:
        bus.subscribe(PlainConsole(lambda line: print(line, file=nowhere)))
        playbooks, known = load_playbook(str(book), registry), load([str(inventory)])
        read, began, started = _cpu() - began, _cpu(), time.monotonic()
        options = RunOptions(root=folder, forks=forks)
        result = run(playbooks, known, options, bus, registry=registry, connections=cast("Any", Nodes()))
        cpu, wall = _cpu() - began, time.monotonic() - started
    done = [counts for counts in result.stats.values() if counts["ok"] == tasks and not counts["changed"]]
    if len(done) != hosts or result.exit_code:
        sys.exit(f"the work was not done: exit code {result.exit_code}, {len(done)} of {hosts} hosts")
    if lost := json.loads((result.run_dir / "run.json").read_text()).get("journal"):
        sys.exit(f"the journal is {lost}")
    written = sum(path.stat().st_size for path in result.run_dir.rglob("*") if path.is_file())
    return _Done(read, cpu, wall, written)


def simulate(hosts: int, tasks: int, forks: int, folder: Path) -> Point:
    """Run in this process, which has done nothing before. A small run goes first, so that what is loaded once is
    not counted to the hosts."""
    from labctl.monitor.cost import peak_rss

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    _once(RACK, tasks, forks, folder / "first")
    before = peak_rss()
    done = _once(hosts, tasks, forks, folder / "measured")
    return Point(hosts, tasks, done.cpu, done.wall, done.read, before, peak_rss(), done.written)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class Growth:
    """A straight line through (hosts, cost), and the slope on logarithmic axes: how steep the growth is."""

    slope: float
    base: float
    r_squared: float
    exponent: float


def growth(hosts: Sequence[int], costs: Sequence[float]) -> Growth:
    slope, base = linear_regression(hosts, costs)
    exponent, _ = linear_regression([math.log(n) for n in hosts], [math.log(cost) for cost in costs])
    return Growth(slope, base, correlation(hosts, costs) ** 2, exponent)


def table(points: Sequence[Point]) -> str:
    lines = [
        "| hosts | CPU, s | µs per host and task | wall, s | memory, MiB | KiB per host | reading, CPU s | run folder, MB |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {point.hosts} | {point.cpu:.1f} | {point.per_task:.0f} | {point.wall:.1f} | {point.memory / 2**20:.0f}"
        f" | {point.per_host:.1f} | {point.read_cpu:.2f} | {point.folder / 1e6:.0f} |"
        for point in points
    ]
    return "\n".join(lines)


def summary(points: Sequence[Point]) -> tuple[str, bool]:
    """The fits in words, and whether the growth is linear."""
    hosts = [point.hosts for point in points]
    cpu = growth(hosts, [point.cpu for point in points])
    memory = growth(hosts, [float(point.memory - point.memory_before) for point in points])
    linear = max(cpu.exponent, memory.exponent) <= STEEPEST
    return (
        f"CPU: {cpu.slope * 1e3:.2f} ms for each host (+ {cpu.base:.2f} s), R² {cpu.r_squared:.4f}, "
        f"grows with hosts^{cpu.exponent:.2f}\n"
        f"memory: {memory.slope / 1024:.1f} KiB for each host (+ {memory.base / 2**20:.1f} MiB), "
        f"R² {memory.r_squared:.4f}, grows with hosts^{memory.exponent:.2f}\n"
        f"{'linear' if linear else 'NOT linear'}: the limit for both is hosts^{STEEPEST}"
    ), linear


def _of_its_own(hosts: int, tasks: int, forks: int) -> Point:
    """The point of one size, from a process of its own."""
    with tempfile.TemporaryDirectory(prefix="labctl-scale-") as folder:
        argv = [sys.executable, "-P", "-m", "benchmarks.scale", "--within", folder]
        argv += ["--hosts", str(hosts), "--tasks", str(tasks), "--forks", str(forks)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False, env=environment)
        if done.returncode:
            sys.exit(f"{hosts} hosts: the process ended with {done.returncode}")
        return Point(**json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.scale",
        description="Runs the engine over simulated hosts, and says how its cost grows with their number.",
        epilog="exit codes: 0 the growth is linear; 2 it is not; 1 the work was not done",
    )
    parser.add_argument(
        "--hosts", default=",".join(map(str, SIZES)), metavar="N,…", help="how many (default %(default)s)"
    )
    parser.add_argument("--tasks", type=int, default=100, metavar="N", help="for each (default 100)")
    parser.add_argument("--forks", type=int, default=50, metavar="N", help="hosts at once (default 50)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the points to a file as well")
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = [int(word) for word in args.hosts.split(",")]
    if any(size < 2 * RACK or size % RACK for size in sizes) or args.tasks < 5 or args.tasks % 5:
        parser.error(f"hosts come in racks of {RACK}, two or more, and tasks in fives")
    if args.within:
        print(json.dumps(asdict(simulate(sizes[0], args.tasks, args.forks, args.within))))
        return 0
    points: list[Point] = []
    for size in sizes:
        points.append(_of_its_own(size, args.tasks, args.forks))
        print(table(points[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(f"{args.tasks} tasks, {args.forks} hosts at once\n\n{table(points)}\n")
    if args.json:
        args.json.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
    if len(points) < 2:
        return 0
    said, linear = summary(points)
    print(said)
    return 0 if linear else 2


if __name__ == "__main__":
    sys.exit(main())
