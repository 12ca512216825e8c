"""What a workload is. A new one is a module in workloads/ with a list WORKLOADS of these."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import benchmarks.workloads
from benchmarks import peers as tools
from benchmarks.fleet import Fleet, Host
from benchmarks.measure import Command, Measured

PEERS = ("ansible", "mitogen", "pyinfra")


class WrongWork(Exception):
    """A tool did not do the work; one sentence that says what is missing."""


@dataclass(frozen=True)
class Scene:
    """Where a workload runs: `folder` holds its playbook and inventories, `work` what its hosts write, `home` is the empty
    home of the tools."""

    folder: Path
    hosts: tuple[Host, ...]
    fleet: Fleet
    peers: tools.Peers
    home: Path

    @property
    def work(self) -> Path:
        return self.folder / "work"


class Rounds(NamedTuple):
    """How many rounds of a slow tool are enough; None: as many as are asked for."""

    ansible: int | None = None
    mitogen: int | None = None
    pyinfra: int | None = None


class Workload(ABC):
    """One piece of work, for several tools. `tools` are run in this order; a tool 'labctl:first' is labctl doing another
    thing, which is not compared but used in a bar. `most_rounds` bounds the rounds of slow peers. `delayed`: the hosts
    are behind the slow network."""

    name: str
    title: str
    hosts: int
    tools: tuple[str, ...]
    most_rounds = Rounds()
    delayed = False

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Put what all tools need into `folder`, once: play.yml, for pyinfra deploy.py, for the floors `commands`."""

    @abstractmethod
    def check(self, scene: Scene, tool: str, measured: Measured) -> None:
        """Raises WrongWork unless the tool did all of the work."""

    def reset(self, scene: Scene) -> None:
        """Before each run of each tool: nothing of the one before is left."""
        shutil.rmtree(scene.work, ignore_errors=True)
        for host in scene.hosts:
            (scene.work / host.name).mkdir(parents=True)

    def command(self, scene: Scene, tool: str) -> Command:
        name, _, part = tool.partition(":")
        hosts, suffix = len(scene.hosts), f"-{part}" if part else ""
        match name:
            case "labctl":
                return tools.labctl(f"play{suffix}.yml", hosts)
            case "ansible":
                return tools.ansible(scene.peers, scene.folder, f"play{suffix}.yml", hosts)
            case "mitogen":
                return tools.mitogen(scene.peers, scene.folder, f"play{suffix}.yml", hosts)
            case "pyinfra":
                return tools.pyinfra(scene.peers, f"deploy{suffix}.py")
            case "paramiko" | "shell":
                return tools.floor("exec" if name == "paramiko" else "shell", f"commands{suffix}")
            case _:
                raise ValueError(f"{self.name} has no tool {tool}")

    def rounds(self, tool: str, wanted: int) -> int:
        return min(wanted, getattr(self.most_rounds, tool, None) or wanted)


def counted(scene: Scene, name: str, expected: Sequence[str]) -> None:
    """Every host's file `name` must hold exactly these lines, in this order."""
    wanted = "".join(f"{line}\n" for line in expected)
    for host in scene.hosts:
        path = scene.work / host.name / name
        found = path.read_text() if path.exists() else ""
        if found != wanted:
            raise WrongWork(
                f"{host.name} has {len(found.splitlines())} lines in {name}, not the {len(expected)} expected ones"
            )


def discover() -> dict[str, Workload]:
    """All workloads, by name, in the order of their letters and then of their modules."""
    found: dict[str, Workload] = {}
    for module in sorted(pkgutil.iter_modules(benchmarks.workloads.__path__), key=lambda each: each.name):
        loaded = importlib.import_module(f"benchmarks.workloads.{module.name}")
        for workload in loaded.WORKLOADS:
            assert workload.name not in found, f"two workloads are called {workload.name}"
            found[workload.name] = workload
    return dict(sorted(found.items(), key=lambda item: item[0][0]))
