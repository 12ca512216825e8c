"""The notebook's pod on its node: made, made anew after its death, and its kernel started.

What it was made from is kept beside its disk, so that one round trip can replace what a step has killed.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, Optional

from labctl.node.functions import notebook_counters as counters
from labctl.node.functions import notebook_disk as disk
from labctl.node.functions import pods
from labctl.node.functions import pods_containers as containers
from labctl.node.functions.notebook_clean import folder
from labctl.node.functions.notebook_links import Link, NotebookError, outside

Values = Dict[str, Any]
NOTEBOOK, CLIENT = "notebook", "client"
RUN = "/run/notebook"  # where the pod's containers see the volume of their sockets
_IMPORT = "import notebook_stress"


def work(pod: str) -> str:
    """Where the notebook's disk is on the node."""
    return os.path.join(folder(pod), "disk")


def sockets(pod: str) -> str:
    return pods.volume(pod, "run")


def make(new: Values, deadline: float) -> Values:
    """Make disk and pod and wait for the kernel: {pid, started_s}. NotebookError."""
    pod = new["pod"]
    os.makedirs(folder(pod), exist_ok=True)
    image = next(c["argv"] for c in new["plan"]["containers"] if c["name"] == NOTEBOOK)
    identity = image.index("%s.%s" % (pod, NOTEBOOK))
    disk.make(pod, new["disk"], image[identity - 1], work(pod))
    containers.write_private(os.path.join(folder(pod), "job.json"), json.dumps(new))
    return _apply(new, deadline)


def job(pod: str) -> Values:
    """What it was made from. NotebookError when there is none."""
    try:
        with open(os.path.join(folder(pod), "job.json")) as stream:
            found: Values = json.load(stream)
    except FileNotFoundError:
        raise NotebookError("it is not there: it was never made, or has been removed") from None
    return found


def remake(pod: str, deadline: float) -> Values:
    """Replace the containers by fresh ones on the same, emptied disk."""
    made_from = job(pod)
    ended = pods.delete(pod, 0)
    if "error" in ended:
        raise NotebookError("what is left of it cannot be removed: %s" % ended["error"]["words"])
    disk.empty(work(pod))
    return _apply(made_from, deadline)


def _apply(source: Values, deadline: float) -> Values:
    begun = time.monotonic()
    made = pods.apply(source["plan"])
    if "error" in made:
        raise NotebookError(made["error"]["words"])
    paths = containers.cgroups("%s.%s" % (source["pod"], NOTEBOOK))
    swap = counters.without_swap(paths)
    as_one = counters.kill_as_one(paths) if source["oom_group"] else False
    with _link(source["pod"], NOTEBOOK, "manager.sock", deadline) as manager:
        manager.send(op="status")
        kernel = _connect(
            source["pod"], _until(source["pod"], NOTEBOOK, manager, "status", deadline), deadline
        )
    return {"pid": kernel, "started_s": time.monotonic() - begun, "swap": swap, "oom_group": as_one}


def restart(pod: str, deadline: float) -> Values:
    """A fresh kernel in the same container: {pid, started_s}."""
    begun = time.monotonic()
    with _link(pod, NOTEBOOK, "manager.sock", deadline) as manager:
        manager.send(op="start")
        started = _until(pod, NOTEBOOK, manager, "started", deadline)
    disk.empty(work(pod))
    return {"pid": _connect(pod, started, deadline), "started_s": time.monotonic() - begun}


def _connect(pod: str, kernel: Values, deadline: float) -> Optional[int]:
    """Let the client talk to a kernel, and have that load what steps need; the kernel's process on this node."""
    if kernel.get("death"):
        raise NotebookError("its kernel does not start: %s" % _words(pod, NOTEBOOK))
    with _link(pod, CLIENT, "client.sock", deadline) as client:
        client.send(op="kernel", connection_file=kernel["connection_file"])
        _until(pod, CLIENT, client, "kernel", deadline)
        client.send(op="execute", id=0, code=_IMPORT)
        done = _until(pod, CLIENT, client, "executed", deadline)
    if done["status"] != "ok":
        raise NotebookError(
            "its kernel cannot load notebook_stress: %s: %s" % (done["ename"], done["evalue"])
        )
    return outside(containers.cgroups("%s.%s" % (pod, NOTEBOOK)), kernel["pid"])


def status(pod: str) -> Optional[Values]:
    """The kernel as the manager sees it, {pid, connection_file, death}; None when the container has ended."""
    try:
        with Link(sockets(pod), "manager.sock") as manager:
            manager.send(op="status")
            return manager.until("status", time.monotonic() + 5.0)
    except (OSError, EOFError):  # TimeoutError is an OSError
        return None


def task(pod: str, container: str) -> Values:
    """The container as its shim sees it (pods_containers.status)."""
    return containers.status({"name": container, "id": "%s.%s" % (pod, container), "started_at": 1.0})


def _link(pod: str, container: str, name: str, deadline: float) -> Link:
    """Connect to a program of the pod, waiting until it listens."""
    while True:
        try:
            return Link(sockets(pod), name)
        except OSError:
            if task(pod, container)["state"] == "terminated":
                raise NotebookError(
                    "its container %s has ended: %s" % (container, _words(pod, container))
                ) from None
            if time.monotonic() > deadline:
                raise NotebookError("its container %s does not answer" % container) from None
        time.sleep(0.01)


def _until(pod: str, container: str, link: Link, event: str, deadline: float) -> Values:
    try:
        return link.until(event, deadline)
    except EOFError:
        words = _words(pod, container)
    except TimeoutError:
        words = "it did not come in time: %s" % _words(pod, NOTEBOOK)
    raise NotebookError("waiting for '%s' of its container %s: %s" % (event, container, words))


def _words(pod: str, container: str) -> str:
    return containers.tail("%s/labctl_%s_%s.log" % (pods.LOGS, pod, container)) or "it wrote nothing"
