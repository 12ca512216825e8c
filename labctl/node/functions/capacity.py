"""What a node is and has, as far as experiments ask for it: cgroups, processors, memory, disks, links, programs."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

_CAP_SYS_RESOURCE = 24


def cgroups() -> dict[str, Any]:
    """{"version": "v2", "v1", "hybrid" or "none"; "controllers": those containers can use; "delegated": those a
    container runtime here may hand on to its containers; "mounts": {mount point: type}}."""
    mounts: dict[str, str] = {}
    writable: dict[str, bool] = {}
    named: dict[str, set[str]] = {}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            before, _, after = line.partition(" - ")
            kind, _source, options = after.split()[:3]
            if kind in ("cgroup", "cgroup2"):
                point = before.split(" ")[4]
                mounts[point] = kind
                writable[point] = "rw" in before.split(" ")[5].split(",") and os.access(point, os.W_OK)
                named[point] = set(options.split(","))
    kinds = set(mounts.values())
    version = {"cgroup cgroup2": "hybrid", "cgroup": "v1", "cgroup2": "v2"}.get(
        " ".join(sorted(kinds)), "none"
    )
    controllers: set[str] = set()
    delegated: set[str] = set()
    for point, kind in mounts.items():
        if kind == "cgroup2":
            names = set(_read(os.path.join(point, "cgroup.controllers")).split())
            handed = (
                set(_read(os.path.join(point, "cgroup.subtree_control")).split())
                if writable[point]
                else set()
            )
        else:
            names = named[point] & _kernel_controllers()
            handed = names if writable[point] else set()
        controllers |= names
        delegated |= handed
    return {
        "version": version,
        "controllers": sorted(controllers),
        "delegated": sorted(delegated),
        "mounts": mounts,
    }


def _kernel_controllers() -> set[str]:
    lines = _read("/proc/cgroups").splitlines()
    return {line.split()[0] for line in lines if line and not line.startswith("#")}


def measure(paths: list[str], programs: list[str], packages: list[str]) -> dict[str, Any]:
    """{"cpus", "memory": bytes, "kernel", "storage": {path: bytes or None}, "link_mbps": of the fastest link or
    None with "link_reason", "programs": {name: version text or None}, "packages": {name: bool}, "cgroup"}."""
    speed, reason = _link_speed()
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memory": _memory(),
        "kernel": os.uname().release,
        "storage": {path: _storage(path) for path in paths},
        "link_mbps": speed,
        "link_reason": reason,
        "programs": {name: _version(name) for name in programs},
        "packages": {name: os.path.exists("/var/lib/dpkg/info/%s.list" % name) for name in packages},
        "cgroup": cgroups()["version"],
    }


def _memory() -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _storage(path: str) -> int | None:
    try:
        info = os.statvfs(path)
    except OSError:
        return None
    return info.f_frsize * info.f_blocks


def _link_speed() -> tuple[int | None, str | None]:
    speeds, names = [], []
    for name in sorted(os.listdir("/sys/class/net")):
        if name == "lo" or _read("/sys/class/net/%s/operstate" % name).strip() == "down":
            continue
        names.append(name)
        # A veth pair's "10000" is a constant of its driver, not a speed.
        virtual = os.path.realpath("/sys/class/net/" + name).startswith("/sys/devices/virtual/")
        text = _read("/sys/class/net/%s/speed" % name).strip()
        if not virtual and text.isdigit():
            speeds.append(int(text))
    if speeds:
        return max(speeds), None
    return None, "%s has no speed of its own: it is a virtual link" % ", ".join(
        names
    ) if names else "no link is up"


def _version(program: str) -> str | None:
    """The first version-like word a program prints of itself."""
    for argument in ("--version", "version"):
        try:
            done = subprocess.run(
                [program, argument],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                universal_newlines=True,
                errors="replace",
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
        if found and done.returncode == 0:
            return found.group(0)
    return None


def containerd(config: str) -> dict[str, Any]:
    """{"version": installed or None, "config": the file's text or None, "answers": whether its daemon answers,
    "server": the running daemon's version, "may_lower_oom_score": CAP_SYS_RESOURCE}."""
    text: str | None
    try:
        with open(config, encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError:
        text = None
    server = None
    version = _version("containerd")
    if version is not None:
        done = subprocess.run(
            ["ctr", "--connect-timeout", "5s", "version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
            timeout=30,
            check=False,
        )
        found = re.search(r"Server:\s+Version:\s+v?(\d+\.\d+(\.\d+)*)", done.stdout)
        server = found.group(1) if found and done.returncode == 0 else None
    effective = re.search(r"^CapEff:\s+(\w+)", _read("/proc/self/status"), re.MULTILINE)
    return {
        "version": version,
        "config": text,
        "answers": server is not None,
        "server": server,
        "may_lower_oom_score": bool(effective and int(effective.group(1), 16) >> _CAP_SYS_RESOURCE & 1),
    }


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
