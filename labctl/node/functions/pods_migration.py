"""What a migration asks of a node: can you take this pod; and, save your state and hold."""

import json
import os
import time
import uuid
from typing import Any, Dict, List, Optional

from labctl.node.functions import pods_containers as containers
from labctl.node.functions import pods_network as network
from labctl.node.functions.pods import ROOT, _container, _failed, read


def prepare(
    pod: str, images: List[str], claims: Dict[str, str], address: Optional[str], need: int
) -> Dict[str, Any]:
    """{} when the node can take the pod, else {"error": …}. claims: {folder: its file system's root}."""
    try:
        if read(pod):
            raise containers.ContainerError(None, "the pod is already on this node")
        _, listed, _ = containers.ctr("images", "ls", "-q", check="")
        missing = sorted(set(images) - set(listed.split()))
        if missing:
            raise containers.ContainerError(None, "image %s is not on this node" % ", ".join(missing))
        for folder, root in claims.items():
            _writable(folder, root, need)
        if address:
            network.device_for(address)
    except Exception as error:
        return _failed(error)
    return {}


def _writable(folder: str, root: str, need: int) -> None:
    if not os.path.isdir(root):
        raise containers.ContainerError(None, "the shared volume %s is not mounted" % root)
    os.makedirs(folder, exist_ok=True)
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    if free < max(need, 1 << 16):
        raise containers.ContainerError(
            None,
            "the shared volume %s has %.1f MiB free, %.1f MiB are needed"
            % (root, free / 2**20, need / 2**20),
        )
    path = os.path.join(folder, ".labctl-%s" % uuid.uuid4().hex)
    with open(path, "wb") as stream:
        stream.write(b"x" * 4096)
        os.fsync(stream.fileno())
    os.unlink(path)


def save(pod: str, name: str, folder: str, timeout: float) -> Dict[str, Any]:
    """Ask a container to save its state below `folder` (of the shared volume) and hold: what it reported."""
    try:
        container = _container(pod, name)
        request = uuid.uuid4().hex
        _write_json(os.path.join(folder, "save.request"), {"request": request})
        containers.send(container, "USR1")
        report = _report(pod, container, folder, request, timeout)
        if report.get("error"):
            raise containers.ContainerError(name, "it could not save its state: %s" % report["error"])
    except Exception as error:
        return _failed(error)
    return report


def _report(pod: str, container: Dict[str, Any], folder: str, request: str, timeout: float) -> Dict[str, Any]:
    # On a full volume the report cannot be written there; the trainer also writes it beside its progress.
    empty = os.path.join(ROOT, pod, "volumes")
    places = [folder] + [os.path.join(empty, n) for n in (os.listdir(empty) if os.path.isdir(empty) else [])]
    deadline = time.monotonic() + timeout
    while True:
        for place in places:
            try:
                with open(os.path.join(place, "saved.json")) as stream:
                    report: Dict[str, Any] = json.load(stream)
            except (OSError, ValueError):
                continue
            if report.get("request") == request:
                return report
        now = containers.status(container)
        if now["state"] != "running":
            words = "it ended (exit code %s) instead of saving its state" % now["exit_code"]
            raise containers.ContainerError(container["name"], words)
        if time.monotonic() > deadline:
            raise containers.ContainerError(
                container["name"], "it did not save its state within %g s" % timeout
            )
        time.sleep(0.005)


def _write_json(path: str, value: Any) -> None:
    with open(path + ".part", "w") as stream:
        json.dump(value, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(path + ".part", path)
