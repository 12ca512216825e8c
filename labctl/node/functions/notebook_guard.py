"""A guard: a small process on the node that removes a notebook when the agent that made it is gone.

However labctl ends (SIGKILL, a lost connection), its agent on the node ends with it; the guard waits for that. It
leads a session of its own, so that what ends the agent does not end it. `LOCK` tells others that it lives, and
whose it is.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, Dict, Optional

from labctl.node.functions import notebook_clean
from labctl.node.functions.notebook_links import Process, ended, forget

_START = "import json,sys\njob=json.load(sys.stdin)\nexec(compile(job['program'],'guard','exec'),globals())\nmain(job)"
_WITHOUT_PIDFD = 200  # milliseconds between two looks


def lock_of(pod: str) -> str:
    return notebook_clean.folder(pod) + ".guard"


def arm(pod: str, program: str) -> None:
    """Start a guard for this agent; `program` is this module's source with its siblings. OSError when it does not
    start."""
    os.makedirs(notebook_clean.ROOT, exist_ok=True)
    job = {"program": program, "pod": pod, "agent": os.getpid(), "session": os.getsid(0)}
    with subprocess.Popen(
        [sys.executable or "python3", "-I", "-S", "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    ) as starter:
        said, words = starter.communicate(json.dumps(job).encode())
    if said != b"armed\n":
        last = words.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise OSError("the notebook's guard does not start: %s" % last[0])


def disarm(pod: str) -> None:
    """End the guard without its doing anything."""
    while True:
        job = holder(pod)
        if job is None:
            forget(lock_of(pod))
            return
        os.kill(job["pid"], signal.SIGTERM)
        time.sleep(0.005)


def holder(pod: str) -> Optional[Dict[str, Any]]:
    """{pid, agent} of the living guard, or None."""
    try:
        with open(lock_of(pod)) as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = stream.read()
                return dict(json.loads(text)) if text else None
    except FileNotFoundError:
        pass
    return None


def taken_by_another(pod: str, patience: float) -> bool:
    """Whether another run has a notebook of this name here. One that may be ending has `patience` seconds for that; one
    whose agent is gone is waited for, since its guard is about to remove it."""
    deadline = time.monotonic() + patience
    last = time.monotonic() + notebook_clean.PATIENCE
    while True:
        job = holder(pod)
        if job is None or job["agent"] == os.getpid():
            return False
        if time.monotonic() > (last if ended(job["agent"]) else deadline):
            return True
        time.sleep(0.02)


# ------------------------------------------------------------ the guard itself


def main(job: Dict[str, Any]) -> None:
    """Detach, tell that the guard stands, wait for the agent's end, clean up."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    agent = Process(job["agent"])
    if os.fork():
        os._exit(0)  # the child speaks
    with open(lock_of(job["pod"]), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others hold it for a moment only, to see whether anybody does
        lock.truncate(0)
        json.dump({"pid": os.getpid(), "agent": job["agent"]}, lock)
        lock.flush()
        try:
            os.write(1, b"armed\n")
        except BrokenPipeError:  # who started it is gone already: all the more
            pass
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        _wait(agent)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_session(job["session"])
        notebook_clean.clean(job["pod"])
        forget(lock_of(job["pod"]))


def _wait(agent: Process) -> None:
    if agent.descriptor < 0:
        while not ended(agent.pid):
            select.select([], [], [], _WITHOUT_PIDFD / 1000)
        return
    poll = select.poll()
    poll.register(agent.descriptor, select.POLLIN)
    while not poll.poll():
        pass


def _end_session(session: int) -> None:
    """End what the agent had started for its functions (ctr, mount): it is not to make what is being removed."""
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        try:
            with open("/proc/%d/stat" % pid) as stream:
                fields = stream.read().rpartition(")")[2].split()
            if int(fields[3]) == session and pid != os.getpid():
                os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue
