"""cgroups of the lab: where its nodes' are, preparing a v2 hierarchy, and leaving none behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal

from labctl.errors import EnvironmentProblem

TOP = "labctl"
_WANTED = ("cpu", "cpuset", "io", "memory", "pids")

Plan = Literal["nothing", "enable", "move", "cannot"]


def hierarchies(mountinfo: str | None = None) -> list[tuple[Path, str]]:
    """Every mounted cgroup hierarchy: its mount point and type ('cgroup' or 'cgroup2')."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    found: dict[Path, str] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split(" ", 1)[0]
        if kind in ("cgroup", "cgroup2"):
            found[Path(before.split(" ")[4].encode().decode("unicode_escape"))] = kind
    return list(found.items())


def version(found: Iterable[tuple[Path, str]]) -> Literal["1", "2", "hybrid", "none"]:
    """What the mounted hierarchies amount to."""
    kinds = {kind for _, kind in found}
    if kinds == {"cgroup2"}:
        return "2"
    if kinds == {"cgroup"}:
        return "1"
    return "hybrid" if kinds else "none"


def delegation(
    available: Collection[str], enabled: Collection[str], *, real_root: bool, occupied: bool
) -> Plan:
    """What makes the controllers usable below a v2 root: `nothing` when they are enabled, `enable` them,
    `move` the processes out of the root first (a container's root cgroup must be empty of processes to
    hand controllers down; the machine's own root is exempt), or `cannot`: they are not there at all."""
    wanted = [controller for controller in _WANTED if controller in available]
    if not {"cpu", "memory"} <= set(wanted):
        return "cannot"
    if set(wanted) <= set(enabled):
        return "nothing"
    return "enable" if real_root or not occupied else "move"


def prepare(found: Iterable[tuple[Path, str]]) -> str | None:
    """On a pure v2 machine, hand the controllers to the lab's cgroups; a sentence when that took more."""
    found = list(found)
    if version(found) == "none":
        raise EnvironmentProblem("no cgroup hierarchy is mounted on this machine (/sys/fs/cgroup)")
    if version(found) != "2":
        return None
    root = found[0][0]
    available = (root / "cgroup.controllers").read_text().split()
    plan = delegation(
        available,
        (root / "cgroup.subtree_control").read_text().split(),
        real_root=not (root / "cgroup.type").exists(),
        occupied=bool((root / "cgroup.procs").read_text().split()),
    )
    if plan == "nothing":
        return None
    if plan == "cannot":
        return "cgroup v2 gives no cpu and memory controller here: containers on the nodes run without limits"
    if plan == "move":
        refuge = root / "labctl-host"
        refuge.mkdir(exist_ok=True)
        _move_all(root, refuge)
    for controller in (name for name in _WANTED if name in available):
        try:
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            return f"cgroup controller {controller} cannot be handed to the nodes: {error.strerror}"
    return "moved this container's processes to a cgroup of their own" if plan == "move" else None


def _move_all(source: Path, target: Path) -> None:
    for _ in range(50):
        pids = (source / "cgroup.procs").read_text().split()
        if not pids:
            return
        for pid in pids:
            try:
                (target / "cgroup.procs").write_text(pid)
            except OSError:
                continue  # it has ended, or was born into the source meanwhile


def paths(lab: str, found: Iterable[tuple[Path, str]]) -> list[Path]:
    """The lab's directory in each hierarchy, where there is one."""
    return [path for mount, _ in found if (path := mount / TOP / lab).is_dir()]


def kill(lab: str, node: str = "", timeout: float = 10.0) -> None:
    """End every process left in the lab's cgroups, or in those of one node. The lab alone puts processes there."""
    deadline = time.monotonic() + timeout
    while True:
        pids = {
            int(pid)
            for path in paths(lab, hierarchies())
            for procs in (path / node).rglob("cgroup.procs")
            for pid in _read(procs).split()
        } - {0, os.getpid()}
        if not pids:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise EnvironmentProblem(f"processes of the lab do not end: {sorted(pids)}")
        time.sleep(0.02)  # a killed process leaves its cgroup when the kernel has reaped it


def remove(lab: str, timeout: float = 10.0) -> None:
    """Remove the lab's cgroups in every hierarchy, deepest first; the kernel may need a moment."""
    deadline = time.monotonic() + timeout
    found = hierarchies()
    while True:
        for path in paths(lab, found):
            _remove_tree(path)
        left = paths(lab, found)
        if not left:
            break
        if time.monotonic() > deadline:
            raise EnvironmentProblem(f"cgroups of the lab cannot be removed: {', '.join(map(str, left))}")
        time.sleep(0.02)
    for mount, _ in found:
        _rmdir(mount / TOP)  # fails, as it should, while another lab is in it


def remove_node(lab: str, node: str) -> None:
    """Remove what a node that died left, so that LXC can make it anew."""
    for path in paths(lab, hierarchies()):
        for name in (node, f"monitor-{node}", f"pivot-{node}"):
            if (path / name).is_dir():
                _remove_tree(path / name)


def _remove_tree(path: Path) -> None:
    for directory, _, _ in os.walk(path, topdown=False):
        _rmdir(Path(directory))


def _rmdir(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # busy, gone, or not ours to empty: the caller looks again


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
