"""What experiments with containers ask of a node beyond Ansible's facts: cgroups, runtimes, NFS, its clock."""

from __future__ import annotations

import os
import time

from labctl.node.functions.facts_text import lines, program, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from labctl.node.functions.facts_text import Facts, Programs

PROGRAMS = ("containerd", "runc", "criu")


def ask(programs: Programs) -> None:
    for name in PROGRAMS:
        programs.start(name, [name, "--version"])


def runtime(programs: Programs, missing: Dict[str, str]) -> Facts:
    known = text("/proc/filesystems").split()
    source = text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    facts: Facts = {
        "cgroup": cgroups(missing),
        "nfs": {
            "kernel_client": "nfs" in known or module("nfs"),
            "kernel_server": "nfsd" in known or module("nfsd"),
        },
        "clock": {"source": source or None, "wall": time.time(), "monotonic": time.monotonic()},
    }
    for name in PROGRAMS:
        facts[name + "_version"], why = _version(name, programs)
        if why:
            missing[name + "_version"] = why
    return facts


def _version(name: str, programs: Programs) -> Any:
    if program(name) is None:
        return None, "not installed"
    said = programs.said(name)
    if said is None:
        return None, "no answer in time"
    import re

    found = re.search(r"\d+\.\d+[^\s,]*", said[1])
    return (found.group(), "") if found else (None, "no version in: %r" % said[1][:80])


def cgroups(missing: Dict[str, str]) -> Facts:
    """The version in use: 2 when the unified hierarchy has the controllers, 1, or "hybrid" for both."""
    controllers: List[str] = []
    unified = None
    for line in lines("/proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        kind, where = right.split()[0], left.split()[4]
        if kind == "cgroup2" and unified is None:
            unified = where
        elif kind == "cgroup":
            options = right.split()[2].split(",")
            controllers += [name for name in os.path.basename(where).split(",") if name in options]
    path = os.path.dirname(unified) if unified and controllers else unified
    version: Any = None
    if unified:
        controllers += text(unified + "/cgroup.controllers").split()
        version = 2 if path == unified else "hybrid"
    elif controllers:
        version, path = 1, "/sys/fs/cgroup"
    else:
        missing["cgroup"] = "no cgroup file system is mounted"
    return {"version": version, "controllers": sorted(set(controllers)), "path": path}


def module(name: str) -> bool:
    """Whether the kernel has the module, loaded or not."""
    folder = "/lib/modules/%s/" % os.uname().release
    return any("/%s.ko" % name in text(folder + listing) for listing in ("modules.builtin", "modules.dep"))
