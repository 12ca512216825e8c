"""The command: `benchmarks/run`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from benchmarks import delay, figure, fleet, imports, peers, table
from benchmarks.bars import ROUND_TRIP, verdicts
from benchmarks.fleet import CannotBenchmark, Fleet
from benchmarks.measure import Measured, environment, run
from benchmarks.ready import get_ready
from benchmarks.statistics import Results
from benchmarks.workload import Scene, Workload, WrongWork, discover

_OUTPUT = Path(__file__).with_name("results")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _words(known: Sequence[str], what: str, given: str | None) -> list[str]:
    """The names of a comma-separated option; `a` also means a1, a10 and so on. Ends with a usage error."""
    if given is None:
        return list(known)
    chosen: list[str] = []
    for word in given.split(","):
        found = [
            name for name in known if name == word or name.rstrip("0123456789").partition("-")[0] == word
        ]
        if not found:
            raise CannotBenchmark(f"there is no {what} '{word}'; there are {', '.join(known)}")
        chosen += found
    return [name for name in known if name in chosen]


def _parse(argv: Sequence[str] | None, workloads: dict[str, Workload]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run",
        description="Runs the same work with labctl and its peers against sshd on loopback, and prints ratios.",
        epilog="exit codes: 0 every bar that was measured is reached; 2 one is not; 1 a tool did not do its work; "
        "9 this machine cannot do it; 130 interrupted",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each workload (default 5)")
    parser.add_argument("--only", metavar="NAMES", help=f"of: {', '.join(workloads)} ('a' means all a…)")
    parser.add_argument(
        "--tools", metavar="NAMES", help="of: labctl, ansible, mitogen, pyinfra, paramiko, shell, scp"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where results go (default benchmarks/results/<time>)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder, and say where it is")
    return parser.parse_args(argv)


def _machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processors": len(os.sched_getaffinity(0)),
        "model": models[0] if models else platform.machine(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }


class _Session:
    """The fleets of this run, made when first needed; what could not be made, and why."""

    def __init__(self, stack: ExitStack, base: Path, most: int) -> None:
        self._stack, self._base, self._most = stack, base, most
        self._near: Fleet | None = None
        self._far: Fleet | None = None
        self.round_trip: float | None = None
        self.installed = peers.install(stack)
        self.home = base / "home"
        self.home.mkdir()

    def _fleet(self, workload: Workload) -> Fleet:
        if workload.delayed:
            if self._far is None:
                addresses, within = delay.start(self._stack, workload.hosts, ROUND_TRIP)
                self._far = fleet.start(self._stack, self._base / "ssh", addresses, "far", within)
                first = self._far.hosts[0]
                self.round_trip = delay.round_trip(first.address, first.port)
            return self._far
        if self._near is None:
            self._near = fleet.start(self._stack, self._base / "ssh", fleet.loopback(self._most))
        return self._near

    def scene(self, workload: Workload) -> Scene:
        folder = self._base / workload.name
        folder.mkdir()
        chosen = self._fleet(workload)
        scene = Scene(folder, chosen.first(workload.hosts), chosen, self.installed, self.home)
        peers.write_inventories(folder, chosen, scene.hosts)
        workload.write(folder)
        return scene


def _reason(output: str) -> str:
    """The line of a failed run that says most: the first that speaks of an error, else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|fatal|unreachable!|failed!", line, re.IGNORECASE)]
    return (telling or lines[-1:] or ["it said nothing"])[0][:300]


def _once(workload: Workload, scene: Scene, tool: str) -> Measured:
    """Raises WrongWork when the tool failed or left something out."""
    workload.reset(scene)
    shutil.rmtree(scene.folder / "runs", ignore_errors=True)
    get_ready(scene.peers.folder)
    measured = run(workload.command(scene, tool), scene.folder, scene.home)
    if measured.rc:
        raise WrongWork(f"it ended with {measured.rc}: {_reason(measured.output)}")
    workload.check(scene, tool, measured)
    return measured


def _rounds(workload: Workload, scene: Scene, tools: Sequence[str], wanted: int, into: Results) -> None:
    for number in range(1, wanted + 1):
        for tool in tools:
            if number > workload.rounds(tool, wanted) or tool in into.failed.get(workload.name, {}):
                continue
            try:
                measured = _once(workload, scene, tool)
            except WrongWork as error:
                _say(f"{workload.name} {number}/{wanted} {tool}: {error}")
                into.fail(workload.name, tool, str(error))
                continue
            into.add(workload.name, tool, measured)
            _say(
                f"{workload.name} {number}/{wanted} {tool}: {measured.wall:.2f} s, CPU {measured.cpu:.2f} s, "
                f"{measured.memory >> 20} MiB"
            )


def _write(output: Path, results: Results, chosen: dict[str, Workload], about: dict[str, Any]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    runs = {
        name: {
            tool: [{key: value for key, value in asdict(each).items() if key != "output"} for each in every]
            for tool, every in by_tool.items()
        }
        for name, by_tool in results.runs.items()
    }
    judged = [
        {"workload": each.bar.workload, "bar": each.bar.text, "side": each.bar.side, "limit": each.bar.limit}
        | {"unit": each.bar.unit, "value": each.value, "verdict": each.word}
        for each in verdicts(results)
    ]
    data = {**about, "titles": {name: workload.title for name, workload in chosen.items()}, "runs": runs}
    text = json.dumps({**data, "failed": results.failed, "bars": judged}, indent=1)
    (output / "results.json").write_text(text + "\n")
    (output / "results.md").write_text(table.page(results, chosen, about))
    (output / "ratios.svg").write_text(figure.draw(results, chosen))


def _tools_of(workload: Workload, wanted: Sequence[str]) -> list[str]:
    return [tool for tool in workload.tools if tool.partition(":")[0] in wanted]


def _benchmark(arguments: argparse.Namespace, stack: ExitStack, chosen: dict[str, Workload]) -> int:
    known = list(dict.fromkeys(tool.partition(":")[0] for each in discover().values() for tool in each.tools))
    wanted = _words(known, "tool", arguments.tools)
    base = Path(tempfile.mkdtemp(prefix="labctl-bench-"))
    if arguments.keep:
        _say(f"everything is kept in {base}")
    else:
        stack.callback(shutil.rmtree, base, ignore_errors=True)
    base.chmod(0o755)
    session = _Session(stack, base, max(each.hosts for each in chosen.values()))
    about: dict[str, Any] = {
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        "argv": sys.argv[1:],
        "versions": session.installed.versions,
        "machine": _machine(),
        "not_run": [],
        "round_trip": None,
        "imports": {},
    }
    _say(", ".join(f"{name} {version}" for name, version in session.installed.versions.items()))
    results = Results({}, {})
    output = arguments.output or _OUTPUT / time.strftime("%Y%m%d-%H%M%S")
    for name, workload in chosen.items():
        try:
            scene = session.scene(workload)
        except CannotBenchmark as error:
            about["not_run"].append(f"{name}, since {error}")
            _say(f"{name} is not run: {error}")
            continue
        _rounds(workload, scene, _tools_of(workload, wanted), arguments.rounds, results)
        if name == "h-play":
            here = environment(session.home)
            about["imports"]["labctl --help"] = imports.of_labctl(["--help"], scene.folder, here)
            empty = ["run", "play.yml", "-i", "inventory"]
            about["imports"]["an empty play"] = imports.of_labctl(empty, scene.folder, here)
        if not arguments.keep:
            shutil.rmtree(scene.folder, ignore_errors=True)
        about["round_trip"] = session.round_trip
        about["machine"]["load_after"] = os.getloadavg()[0]
        _write(output, results, chosen, about)
    print(table.page(results, chosen, about))
    print(f"results: {os.path.relpath(output)}")
    if results.failed:
        return 1
    return 2 if any(verdict.passed is False for verdict in verdicts(results)) else 0


def _ended(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    workloads = discover()
    arguments = _parse(argv, workloads)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    try:
        names = _words(list(workloads), "workload", arguments.only)
        with ExitStack() as stack:
            return _benchmark(arguments, stack, {name: workloads[name] for name in names})
    except CannotBenchmark as error:
        _say(f"benchmarks/run: {error}")
        return 9
    except KeyboardInterrupt:
        _say("benchmarks/run: interrupted")
        return 130
