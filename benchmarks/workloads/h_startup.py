"""(h) What starting costs: the help, and a play without tasks."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fleet import ROOT
from benchmarks.measure import Command, Measured
from benchmarks.workload import Scene, Workload, WrongWork


class Help(Workload):
    name = "h-help"
    hosts = 1
    title = "--help"
    tools = ("labctl", "ansible")

    def write(self, folder: Path) -> None:
        """Nothing is needed."""

    def command(self, scene: Scene, tool: str) -> Command:
        if tool == "labctl":
            return Command([ROOT / "bin/labctl", "--help"])
        return Command([scene.peers.program("ansible-playbook"), "--help"])

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:  # noqa: ARG002
        if not measured.output.startswith("usage:"):
            raise WrongWork(f"{tool} --help printed no usage")


class EmptyPlay(Workload):
    name = "h-play"
    hosts = 1
    title = "a play without tasks"
    tools = ("labctl", "ansible")

    def write(self, folder: Path) -> None:
        (folder / "play.yml").write_text("- hosts: all\n  gather_facts: false\n  tasks: []\n")

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:  # noqa: ARG002
        if "PLAY [all]" not in measured.output:
            raise WrongWork(f"{tool} did not say that it plays [all]")


WORKLOADS = [Help(), EmptyPlay()]
