"""Removing a notebook from a node, whatever there is of it: by whoever is done with it, or by its guard."""

from __future__ import annotations

import glob
import os
import shutil
import time
from typing import Any, Dict, List

from labctl.node.functions import notebook_disk as disk
from labctl.node.functions import pods
from labctl.node.functions import pods_containers as containers

ROOT = "/run/labctl/notebook"
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
        # A container that was being made while its maker was killed may appear once more, or its file system alone.
        kept = [] if left else _snapshots(pod)
        for key in kept:
            containers.ctr("snapshots", "rm", key)
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
    """Keys of file systems made for containers of the pod."""
    _, listed, _ = containers.ctr("snapshots", "ls")
    keys = [line.split(None, 1)[0] for line in listed.splitlines()[1:] if line.strip()]
    return [key for key in keys if key.startswith(pod + ".")]
