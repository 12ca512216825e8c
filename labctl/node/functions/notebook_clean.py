"""Removing a notebook from a node, whatever there is of it: by whoever is done with it, or by its guard."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import time
from typing import Any, Dict, List

from labctl.node.functions import notebook_disk as disk
from labctl.node.functions import pods
from labctl.node.functions import pods_containers as containers

ROOT = "/run/labctl/notebook"
_RUNC = "/run/containerd/runc"
PATIENCE = 30.0  # seconds to remove a notebook in


def folder(pod: str) -> str:
    """What is kept of a notebook on this node: what it was made from, and where its disk is mounted."""
    return os.path.join(ROOT, pod)


def clean(pod: str) -> Dict[str, Any]:
    """Remove pod, disk, logs and files: {existed, left: '' or what could not be removed}."""
    existed = os.path.exists(folder(pod))
    left = ""
    deadline = time.monotonic() + PATIENCE
    while True:
        ended = pods.delete(pod, 0)
        existed = existed or bool(ended.get("existed"))
        left = ended["error"]["words"] if "error" in ended else ""
        # A container that was being made while its maker was killed may appear once more, or leave its file system,
        # its cgroups or runc's folder alone; the next of its name could not be made then.
        kept = [] if left else [*_snapshots(pod), *_cgroups(pod), *_runc_folders(pod)]
        if not left and not kept and not ended.get("existed") and not containers.leftovers(pod):
            break
        if time.monotonic() > deadline:
            left = left or "containers come back"
            break
        if left:
            time.sleep(0.05)
    existed = disk.remove(pod, os.path.join(folder(pod), "disk")) or existed
    for path in glob.glob("%s/labctl_%s_*.log" % (pods.LOGS, glob.escape(pod))):
        os.unlink(path)
    shutil.rmtree(folder(pod), ignore_errors=True)
    return {"existed": existed, "left": left}


def _snapshots(pod: str) -> List[str]:
    """Remove file systems made for containers of the pod: their keys."""
    _, listed, _ = containers.ctr("snapshots", "ls")
    keys = [line.split(None, 1)[0] for line in listed.splitlines()[1:] if line.strip()]
    found = [key for key in keys if key.startswith(pod + ".")]
    for key in found:
        containers.ctr("snapshots", "rm", key)
    return found


def _runc_folders(pod: str) -> List[str]:
    """Remove what runc keeps of a container: the paths."""
    found = glob.glob("%s/%s/%s.*" % (_RUNC, containers.NAMESPACE, glob.escape(pod)))
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return found


def _cgroups(pod: str) -> List[str]:
    """Remove cgroups that no container has any more, in every hierarchy, and end what is still in them: their paths."""
    name = "%s/%s.*" % (containers.NAMESPACE, glob.escape(pod))
    found = [path for top in ("", "*/") for path in glob.glob("%s/%s%s" % (containers.CGROUP, top, name))]
    for path in found:
        for directory, _, _ in os.walk(path, topdown=False):
            try:
                with open(os.path.join(directory, "cgroup.procs")) as stream:
                    for pid in stream.read().split():
                        os.kill(int(pid), signal.SIGKILL)
                os.rmdir(directory)
            except OSError:  # not empty yet: there is another look
                continue
    return found
