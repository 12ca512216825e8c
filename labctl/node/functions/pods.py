"""Pods on a node, one round trip for each thing that is done to one.

A pod's record and its emptyDirs are in /run/labctl/pods/<pod>/: they go with the pod, and with the node's
boot. Errors that a pod causes come back as {"error": {container, words}}, not as exceptions.
"""

import fcntl
import json
import os
import shutil
import socket
import tarfile
import time
import urllib.error
import urllib.request
from typing import Any, Dict, List, Optional

from labctl.node.functions import pods_containers as containers
from labctl.node.functions import pods_network as network

ROOT = "/run/labctl/pods"
LOGS = "/var/log/pods"


class Busy:
    """One operation on a pod at a time. The lock file goes with the pod."""

    def __init__(self, pod: str) -> None:
        self.folder = os.path.join(ROOT, pod)
        self.lock = self.folder + ".lock"

    def __enter__(self) -> "Busy":  # noqa: PYI034
        while True:
            os.makedirs(self.folder, exist_ok=True)
            self.stream = open(self.lock, "w")
            fcntl.flock(self.stream, fcntl.LOCK_EX)
            try:
                if os.stat(self.lock).st_ino == os.fstat(self.stream.fileno()).st_ino:
                    os.makedirs(self.folder, exist_ok=True)
                    return self
            except FileNotFoundError:
                pass
            self.stream.close()  # whoever held it removed the pod, and the lock with it

    def __exit__(self, *_: object) -> None:
        if not os.path.exists(os.path.join(self.folder, "pod.json")):
            shutil.rmtree(self.folder, ignore_errors=True)
            _forget(self.lock)
        self.stream.close()


def _failed(error: Exception) -> Dict[str, Any]:
    """{"error": …} of an exception a pod may cause; others are raised again."""
    if isinstance(error, containers.ContainerError):
        return {"error": {"container": error.container, "words": error.words}}
    if isinstance(error, (network.NetworkError, OSError, tarfile.TarError)):
        return {"error": {"container": None, "words": str(error)}}
    raise error


def read(pod: str) -> Optional[Dict[str, Any]]:
    try:
        with open(os.path.join(ROOT, pod, "pod.json")) as stream:
            found: Dict[str, Any] = json.load(stream)
    except FileNotFoundError:
        return None
    return found


def write(record: Dict[str, Any]) -> None:
    path = os.path.join(ROOT, record["pod"], "pod.json")
    containers.write_private(path + ".part", json.dumps(record))
    os.replace(path + ".part", path)


def apply(plan: Dict[str, Any]) -> Dict[str, Any]:
    """Create the pod, or add to it the containers of the plan; all of them, or none.

    plan: pod, hash, address, serve, expires (this node's clock, or None: a call that was held up by a
    hung node must not start a second pod later), empty (names of emptyDirs), claims (folders to make),
    unpack (a tar for new emptyDirs, or None), containers (name, id, argv for ctr, env, log)."""
    pod = plan["pod"]
    with Busy(pod):
        known = read(pod)
        new = known is None
        record = known or dict(
            {key: plan[key] for key in ("pod", "hash", "address")},
            containers={},
            serving=False,
            created=time.time(),
        )
        made: List[Dict[str, Any]] = []
        try:
            _in_time(plan)
            if new:
                _clear(pod, plan["address"])
                write(record)
                _make_folders(plan)
                network.create(pod, plan["address"])
            for container in plan["containers"]:
                if container["name"] in record["containers"]:
                    containers.remove(container["id"])
                elif new:
                    _forget(container["log"])
                made.append(container)
            containers.in_parallel(lambda c: _start(pod, c), made)
            for container in made:
                kept = {key: container[key] for key in ("name", "id", "log", "hash")}
                record["containers"][container["name"]] = dict(kept, started_at=container["started_at"])
            _in_time(plan)
            if plan["serve"] and plan["address"]:
                network.serve(plan["address"])
            record["serving"] = bool(plan["serve"])
            write(record)
        except Exception as error:
            logs = {c["name"]: containers.tail(c["log"]) for c in made}
            _undo(pod, plan, made, record, new)
            return dict(_failed(error), logs=logs)
        return _status(record)


def _start(pod: str, container: Dict[str, Any]) -> None:
    containers.start(container, os.path.join(ROOT, pod, container["name"] + ".env"))
    container["started_at"] = time.time()


def _in_time(plan: Dict[str, Any]) -> None:
    if plan["expires"] is not None and time.time() > plan["expires"]:
        raise containers.ContainerError(None, "the request came too late; nobody waits for it any more")


def _make_folders(plan: Dict[str, Any]) -> None:
    os.makedirs(LOGS, exist_ok=True)
    for folder in plan["claims"]:
        os.makedirs(folder, exist_ok=True)
    for name in plan["empty"]:
        os.makedirs(volume(plan["pod"], name), exist_ok=True)
    if plan["unpack"]:
        with tarfile.open(plan["unpack"]) as tar:
            tar.extractall(os.path.join(ROOT, plan["pod"], "volumes"))


def _undo(
    pod: str, plan: Dict[str, Any], made: List[Dict[str, Any]], record: Dict[str, Any], new: bool
) -> None:
    if new:
        _clear(pod, plan["address"])
        _forget(os.path.join(ROOT, pod, "pod.json"))
        return
    for container in made:
        try:
            containers.remove(container["id"])
        except containers.ContainerError:
            pass
        record["containers"].pop(container["name"], None)
    write(record)


def _clear(pod: str, address: Optional[str]) -> None:
    """Remove whatever an earlier pod of this name left."""
    for container_id in containers.leftovers(pod):
        try:
            containers.remove(container_id)
        except containers.ContainerError:
            pass
    network.remove(pod, address)
    shutil.rmtree(os.path.join(ROOT, pod, "volumes"), ignore_errors=True)


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def volume(pod: str, name: str) -> str:
    """Where an emptyDir of a pod is on this node."""
    return os.path.join(ROOT, pod, "volumes", name)


def status(pod: str) -> Optional[Dict[str, Any]]:
    """The pod as it is, or None."""
    record = read(pod)
    return _status(record) if record else None


def _status(record: Dict[str, Any]) -> Dict[str, Any]:
    found = [containers.status(container) for container in record["containers"].values()]
    keys = ("pod", "hash", "address", "serving")
    return dict({key: record[key] for key in keys}, containers=found)


def delete(pod: str, grace: float) -> Dict[str, Any]:
    """{"existed": …, "containers": how they ended}. Logs stay until the next pod of this name."""
    with Busy(pod):
        record = read(pod)
        ids = containers.leftovers(pod)
        if record is None and not ids and not network.exists(pod):
            return {"existed": False}
        try:
            ended = []
            if record:
                containers.end(record["containers"].values(), grace)
                ended = _status(record)["containers"]
            containers.in_parallel(containers.remove, ids)
            network.remove(pod, record["address"] if record else None)
            shutil.rmtree(os.path.join(ROOT, pod))
        except Exception as error:
            return _failed(error)
        return {"existed": True, "containers": ended}


def serve(pod: str, expires: Optional[float] = None) -> Dict[str, Any]:
    """From now on the pod's address leads to this node."""
    with Busy(pod):
        try:
            record = read(pod)
            if record is None:
                raise containers.ContainerError(None, "the pod is not on this node")
            _in_time({"expires": expires})
            if record["address"]:
                network.serve(record["address"])
            record["serving"] = True
            write(record)
        except Exception as error:
            return _failed(error)
        return {}


def send(pod: str, container: str, name: str) -> Dict[str, Any]:
    """Signal a container's first process ('USR1')."""
    try:
        containers.send(_container(pod, container), name)
    except Exception as error:
        return _failed(error)
    return {}


def pause(pod: str, names: List[str], resume: bool = False) -> Dict[str, Any]:
    """Freeze, or thaw, containers."""
    verb = "resume" if resume else "pause"
    try:
        found = [_container(pod, name) for name in names]
        containers.in_parallel(lambda c: containers.ctr("task", verb, c["id"], check=c["name"]), found)
    except Exception as error:
        return _failed(error)
    return {}


def _container(pod: str, name: str) -> Dict[str, Any]:
    record = read(pod)
    if record is None or name not in record["containers"]:
        raise containers.ContainerError(name, "there is no such container on this node")
    found: Dict[str, Any] = record["containers"][name]
    return found


def logs(pod: str, names: List[str]) -> Dict[str, str]:
    """{container: text} of what they wrote; '' for those that never ran here."""
    found = {}
    for name in names:
        try:
            with open("%s/labctl_%s_%s.log" % (LOGS, pod, name), errors="replace") as stream:
                found[name] = stream.read()
        except OSError:
            found[name] = ""
    return found


def wait(
    pod: str, ready: List[Dict[str, Any]], timeout: float, progress: Optional[Dict[str, Any]] = None
) -> Dict[str, Any]:
    """Wait until the pod is healthy: every container runs or has completed, and is ready.

    ready: [{container, port, path or None}]. progress: None, or {url, step, completed}: also wait until
    the service tells a step (at least `step`, when given) and these containers as completed.
    Returns the status with `waited` seconds and `progress`; or {"error": …} when a container failed or
    the time is over."""
    begin = time.monotonic()
    waiting = list(ready)
    last: Optional[Dict[str, Any]] = None
    while True:
        found = status(pod)
        if found is None:
            return {"error": {"container": None, "words": "the pod is gone"}}
        for one in found["containers"]:
            if one["state"] == "terminated" and one["exit_code"] != 0:
                words = "it ended: %s, exit code %s" % (one["reason"], one["exit_code"])
                text = containers.tail("%s/labctl_%s_%s.log" % (LOGS, pod, one["name"]))
                return {"error": {"container": one["name"], "words": words}, "logs": {one["name"]: text}}
        waiting = [one for one in waiting if not _ready(found["address"], one)]
        reached = not waiting
        if reached and progress:
            last = told(progress["url"]) or last
            reached = last is not None and regained(last, progress)
        if reached:
            return dict(found, waited=time.monotonic() - begin, progress=last, wall=time.time())
        if time.monotonic() - begin > timeout:
            words = ", ".join("%s:%s%s" % (w["container"], w["port"], w["path"] or "") for w in waiting)
            words = ("not ready after %g s: %s" % (timeout, words)) if waiting else ""
            words = words or "after %g s the service told %s" % (timeout, json.dumps(last))
            paths = {
                one["name"]: "%s/labctl_%s_%s.log" % (LOGS, pod, one["name"]) for one in found["containers"]
            }
            wrote = {name: containers.tail(path) for name, path in paths.items()}
            return {"error": {"container": None, "words": words}, "logs": wrote}
        # At first as fast as a start deserves, then so that asking costs the pod next to nothing.
        time.sleep(0.01 if time.monotonic() - begin < 2 else 0.05)


def regained(told_now: Dict[str, Any], wanted: Dict[str, Any]) -> bool:
    """Whether the service's progress is what it is to be."""
    step = told_now.get("step")
    if step is None or (wanted.get("step") is not None and step < wanted["step"]):
        return False
    return set(wanted.get("completed") or ()) <= set(told_now.get("completed") or ())


def told(url: str, timeout: float = 0.5) -> Optional[Dict[str, Any]]:
    """The JSON object a URL answers with, or None."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            found = json.loads(answer.read())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _ready(address: Optional[str], one: Dict[str, Any]) -> bool:
    if not address:
        return True
    if one["path"] is None:
        try:
            socket.create_connection((address, one["port"]), 0.5).close()
        except OSError:
            return False
        return True
    try:
        with urllib.request.urlopen(
            "http://%s:%d%s" % (address, one["port"], one["path"]), timeout=0.5
        ) as got:
            return bool(200 <= got.status < 400)
    except (OSError, ValueError):
        return False
