"""What else lives on a node: said before and after something that must not take it along."""

import os
import subprocess
from typing import Any, Dict, List

_SERVICES = ("containerd", "sshd", "kubelet", "dockerd")


def neighbours(namespace: str, without: List[str]) -> Dict[str, Any]:
    """{"boot": id of the node's first process, "containers": {id: pid of its first process}, "services": {name: pids,
    sorted}}. Containers are containerd's running ones of a namespace but those `without`; all pids are the node's,
    each with its start in clock ticks since boot ("1200@53434"), so that a pid used again is not the same."""
    containers = {}
    for line in _tasks(namespace).splitlines()[1:]:
        words = line.split()
        if len(words) >= 3 and words[2] == "RUNNING" and words[0] not in without:
            containers[words[0]] = _identity(words[1])
    return {"boot": _identity("1"), "containers": containers, "services": _services()}


def _tasks(namespace: str) -> str:
    """The table of `ctr task ls`: TASK, PID, STATUS; '' on a node without containerd."""
    argv = ["ctr", "-n", namespace, "task", "ls"]
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.decode(errors="replace")


def _identity(pid: str) -> str:
    try:
        with open("/proc/%s/stat" % pid) as stream:
            return "%s@%s" % (pid, stream.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return pid


def _services() -> Dict[str, List[str]]:
    """Only those started by the first process: a session's own sshd comes and goes with it."""
    found = {}  # type: Dict[str, List[str]]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as stream:
                text = stream.read()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        if name in _SERVICES and text.rpartition(")")[2].split()[1] == "1":
            found.setdefault(name, []).append(_identity(pid))
    return {name: sorted(pids) for name, pids in found.items()}
