"""The containers of a pod, in containerd's namespace `labctl`: start, look, signal, end, remove.

A container's id is `<pod>.<container>`, and so its cgroup is /labctl/<pod>.<container>.
"""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from labctl.node.functions import pods_shim

NAMESPACE = "labctl"
CGROUP = "/sys/fs/cgroup"
_CONTROLLERS = ("cpuacct", "cpu", "memory", "pids", "blkio", "freezer", "cpuset", "devices")


class ContainerError(Exception):
    def __init__(self, container: Optional[str], words: str) -> None:
        super().__init__(words)
        self.container = container
        self.words = words


def ctr(*arguments: str, check: Optional[str] = None, timeout: float = 60) -> Tuple[int, str, str]:
    """Run ctr; (exit code, stdout, stderr). With `check`, a failure is a ContainerError about it."""
    try:
        done = subprocess.run(
            ["ctr", "-n", NAMESPACE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ContainerError(check, "ctr %s did not end within %g s" % (arguments[0], timeout)) from None
    except FileNotFoundError:
        raise ContainerError(check, "there is no 'ctr' on this node: is containerd installed?") from None
    words = done.stderr.decode(errors="replace").strip()
    if check and done.returncode:
        raise ContainerError(check, words or "ctr ended with exit code %d" % done.returncode)
    return done.returncode, done.stdout.decode(errors="replace"), words


def in_parallel(function: Callable[[Any], Any], items: Iterable[Any]) -> List[Any]:
    """Apply to all at once; every one is waited for, then the first error is raised."""
    items = list(items)
    if not items:
        return []
    with ThreadPoolExecutor(len(items)) as pool:
        futures = [pool.submit(function, item) for item in items]
    return [future.result() for future in futures]


def start(container: Dict[str, Any], secret_env_path: str) -> None:
    """Create and start one: {"name", "id", "argv", "log", "env"}; argv is ctr's, complete."""
    write_private(secret_env_path, "".join("%s=%s\n" % pair for pair in sorted(container["env"].items())))
    ctr(*container["argv"], check=container["name"])


def write_private(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


def cgroups(container_id: str) -> Dict[str, str]:
    """{controller: path} of its cgroups that exist; one entry 'unified' on cgroup v2."""
    if os.path.exists(CGROUP + "/cgroup.controllers"):
        path = "%s/%s/%s" % (CGROUP, NAMESPACE, container_id)
        return {"unified": path} if os.path.isdir(path) else {}
    paths = {name: "%s/%s/%s/%s" % (CGROUP, name, NAMESPACE, container_id) for name in _CONTROLLERS}
    return {name: path for name, path in paths.items() if os.path.isdir(path)}


def oom_kills(paths: Dict[str, str]) -> Optional[int]:
    """How many of its processes the kernel killed for memory; None when the kernel does not say."""
    for name, file, key in (
        ("unified", "memory.events", "oom_kill"),
        ("memory", "memory.oom_control", "oom_kill"),
    ):
        if name in paths:
            try:
                with open(os.path.join(paths[name], file)) as stream:
                    fields = dict(line.split() for line in stream if len(line.split()) == 2)
                return int(fields[key]) if key in fields else None
            except OSError:
                return None
    return None


def status(container: Dict[str, Any]) -> Dict[str, Any]:
    """One container of a pod's record, in the form of labctl.pods.model.ContainerStatus."""
    found = {
        "name": container["name"],
        "id": container["id"],
        "state": "waiting",
        "pid": None,
        "exit_code": None,
        "reason": None,
        "started_at": container.get("started_at"),
        "finished_at": None,
        "paused": False,
        "cgroups": cgroups(container["id"]),
    }
    try:
        task = pods_shim.state(NAMESPACE, container["id"])
    except pods_shim.ShimGone:
        task = None
    if task is None:
        # Its task is gone (containerd's state was lost, the node was restarted): nobody saw it end.
        if container.get("started_at"):
            found.update(state="terminated", reason="ContainerStatusUnknown")
    elif task["status"] in ("running", "paused"):
        found.update(state="running", pid=task["pid"], paused=task["status"] == "paused")
    elif task["status"] == "stopped":
        code, kills = task["exit_code"], oom_kills(found["cgroups"])
        reason = "Completed" if code == 0 else "OOMKilled" if kills and code == 137 else "Error"
        if container.get("checkpoint"):
            reason = "Checkpointed"
        found.update(state="terminated", exit_code=code, reason=reason, finished_at=task["finished_at"])
    return found


def send(container: Dict[str, Any], name: str) -> None:
    """Signal its first process, by the signal's name without SIG."""
    task = pods_shim.state(NAMESPACE, container["id"])
    if not task or task["status"] not in ("running", "paused"):
        raise ContainerError(container["name"], "it is not running")
    os.kill(task["pid"], getattr(signal, "SIG" + name))


def end(containers: Iterable[Dict[str, Any]], grace: float) -> None:
    """SIGTERM, then SIGKILL to those that still run after `grace` seconds."""
    deadline = time.monotonic() + grace
    killed = False
    running = []
    for container in containers:
        try:
            task = pods_shim.state(NAMESPACE, container["id"])
        except pods_shim.ShimGone:
            continue
        if not task or task["status"] not in ("running", "paused"):
            continue
        if task["status"] == "paused":
            ctr("task", "resume", container["id"])
        running.append(container)
        os.kill(task["pid"], signal.SIGTERM if grace > 0 else signal.SIGKILL)
    while running:
        running = [c for c in running if _runs(c)]
        if running and time.monotonic() >= deadline:
            if killed:
                raise ContainerError(running[0]["name"], "it still runs 10 s after SIGKILL")
            for container in running:
                ctr("task", "kill", "--signal", "SIGKILL", container["id"])
            killed, deadline = True, time.monotonic() + 10.0
        if running:
            time.sleep(0.005)


def _runs(container: Dict[str, Any]) -> bool:
    try:
        task = pods_shim.state(NAMESPACE, container["id"])
    except pods_shim.ShimGone:
        return False
    return bool(task and task["status"] in ("running", "paused", "created"))


def remove(container_id: str) -> None:
    """Remove task, container and cgroups, whatever there is of them."""
    ctr("task", "rm", "--force", container_id)
    if container_id in pods_shim.known(NAMESPACE, container_id):
        try:
            pods_shim.end(NAMESPACE, container_id)
        except pods_shim.ShimGone as error:
            raise ContainerError(container_id, str(error)) from None
    code, _, words = ctr("container", "rm", container_id)
    if code and "not found" not in words and "no such container" not in words:
        raise ContainerError(container_id, words)
    for path in cgroups(container_id).values():
        for folder, _, _ in os.walk(path, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass


def leftovers(pod: str) -> List[str]:
    """Ids of containers that carry the pod's label, and of tasks whose container is gone."""
    _, listed, _ = ctr("container", "ls", "-q", 'labels."labctl.pod"==%s' % pod)
    return sorted({*listed.split(), *pods_shim.known(NAMESPACE, pod + ".")})


def tail(path: str, lines: int = 5) -> str:
    """The last lines of a log file, or ''."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 4096))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
