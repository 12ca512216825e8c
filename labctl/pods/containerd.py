"""Pods on plain nodes: containerd, spoken to through each node's agent.

A pod's containers share one network namespace and the pod's address, which is an address of the nodes'
own network and moves with the pod. A claim is a folder of the shared volume (`<volume>/<claim>`), the same
on every node. An emptyDir belongs to the pod on its node: a checkpoint takes it along, for it is part of
what the processes see; every other way to a node starts with new ones.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from labctl.errors import Unreachable
from labctl.node.api import Completed, Node
from labctl.pods.errors import CheckpointRefused, PodError
from labctl.pods.model import Container, ContainerStatus, Pod, PodStatus
from labctl.pods.runtime import Checkpoint, Healthy, Progress, Saved

_LOGS = "/var/log/pods"
_STATE = "/run/labctl/pods"
_NAMESPACE = "labctl"
_CLOCK_ERROR = 0.01  # seconds, of a time limit
_SETTINGS = "/run/labctl/criu/criu.conf"
_RESTORE = "/run/labctl/criu/runc-restore"
VOLUMES = "volumes.tar"
_FORGIVEN_AFTER = (
    60.0  # so long a host that did not answer is asked with less patience: a pod waits elsewhere
)
_SECOND_CHANCE = 3.0


class Containerd:
    """`PodRuntime` on containerd. `node(host)` connects to a host, `volume(host)` is where the shared volume is
    mounted there, `hosts` are those a pod may be on. A node that does not answer a question within
    `patience` seconds (longer work: that much longer; starting containers: `start_patience`) is given up as
    unreachable."""

    def __init__(
        self,
        node: Callable[[str], Node],
        hosts: Sequence[str],
        volume: Callable[[str], str],
        *,
        patience: float = 10.0,
        start_patience: float = 60.0,
    ) -> None:
        self._node, self._hosts, self._volume = node, tuple(hosts), volume
        self._patience, self._start_patience = patience, start_patience
        self._silent: dict[str, float] = {}  # hosts that did not answer, and when that was

    def kind(self) -> Literal["containerd", "kubernetes"]:
        return "containerd"

    # ------------------------------------------------------------ the pod as a whole

    def apply(
        self,
        pod: Pod,
        node: str,
        *,
        only: Collection[str] | None = None,
        env: Mapping[str, str] | None = None,
        restore: Mapping[str, Checkpoint] | None = None,
        serve: bool = True,
    ) -> PodStatus:
        plan = self.plan(pod, node, only=only, env=env, restore=restore, serve=serve)
        if restore:
            folder = next(iter(restore.values())).path.rsplit("/", 1)[0]
            plan["unpack"] = f"{folder}/{VOLUMES}"
        module, function = ("pods_criu", "restore") if restore else ("pods", "apply")
        found = self._ask(pod, node, module, function, extra=self._start_patience, lease=True, plan=plan)
        return _status(found, node)

    def delete(self, pod: Pod, node: str, *, grace_seconds: float | None = None) -> bool:
        grace = pod.grace_seconds if grace_seconds is None else grace_seconds
        found = self._ask(pod, node, "pods", "delete", extra=grace + 30.0, grace=grace)
        return bool(found["existed"])

    def status(self, pod: Pod, node: str) -> PodStatus | None:
        return self._status_of(pod.name, node)

    def find(self, name: str) -> PodStatus | None:
        unreachable: Unreachable | None = None
        for host in self._hosts:
            try:
                if (found := self._status_of(name, host)) is not None:
                    return found
            except Unreachable as error:
                unreachable = error
        if unreachable:
            raise unreachable
        return None

    def wait(self, pod: Pod, node: str, timeout: float, progress: Progress | None = None) -> Healthy:
        ready = [
            {"container": c.name, "port": c.readiness.port, "path": c.readiness.path}
            for c in pod.containers
            if c.readiness
        ]
        found = self._ask(
            pod,
            node,
            "pods",
            "wait",
            extra=timeout,
            ready=ready,
            timeout=timeout,
            progress=asdict(progress) if progress else None,
        )
        return Healthy(_status(found, node), found["waited"], found["progress"], found["wall"])

    def serve(self, pod: Pod, node: str) -> None:
        self._ask(pod, node, "pods", "serve", lease=True)

    # ------------------------------------------------------------ its containers

    def logs(self, pod: Pod, node: str, container: str) -> str:
        return self.all_logs(pod, node)[container]

    def all_logs(self, pod: Pod, node: str) -> dict[str, str]:
        """What each container of the pod wrote on this node since it was last made here."""
        names = [c.name for c in pod.containers]
        found: dict[str, str] = self._call(node, "pods", "logs", self._patience, pod=pod.name, names=names)
        return found

    def exec(self, pod: Pod, node: str, container: str, argv: Sequence[str]) -> Completed:
        identity = ["--exec-id", hashlib.sha256("\0".join(argv).encode()).hexdigest()[:12]]
        command = ["ctr", "-n", _NAMESPACE, "task", "exec", *identity, f"{pod.name}.{container}", *argv]
        return self._node(node).run(command)

    def signal(self, pod: Pod, node: str, container: str, name: str) -> None:
        self._ask(pod, node, "pods", "send", container=container, name=name)

    def pause(self, pod: Pod, node: str, containers: Collection[str]) -> None:
        self._ask(pod, node, "pods", "pause", names=list(containers))

    def unpause(self, pod: Pod, node: str, containers: Collection[str]) -> None:
        self._ask(pod, node, "pods", "pause", names=list(containers), resume=True)

    def save(self, pod: Pod, node: str, container: str, timeout: float) -> Saved:
        folder = self.volume_path(pod, node)
        found = self._ask(
            pod,
            node,
            "pods_migration",
            "save",
            extra=timeout,
            name=container,
            folder=folder,
            timeout=timeout,
        )
        return Saved(
            container,
            found.get("step"),
            found.get("sha256"),
            found.get("bytes", 0),
            found.get("seconds", 0.0),
        )

    # ------------------------------------------------------------ before and during a migration

    def prepare(self, pod: Pod, node: str, *, need_bytes: int = 0) -> None:
        supported(pod)
        root = self._volume(node)
        self._ask(
            pod,
            node,
            "pods_migration",
            "prepare",
            images=sorted({c.image for c in pod.containers}),
            claims={self._claim(v.claim, node): root for v in pod.volumes if v.claim},
            address=pod.address,
            need=need_bytes,
        )

    def checkpoint_refusal(self, node: str) -> str | None:
        found = self._call(node, "pods_criu", "refusal", self._patience + 60.0)
        return None if found is None else str(found)

    def checkpoint(
        self, pod: Pod, node: str, containers: Collection[str], directory: str
    ) -> dict[str, Checkpoint]:
        names = list(containers)
        found = self._call(
            node,
            "pods_criu",
            "checkpoint",
            self._patience + 120.0,
            pod=pod.name,
            names=names,
            directory=directory,
        )
        made = {one["container"]: Checkpoint(**one) for one in found["containers"]}
        if error := found.get("error"):
            raise CheckpointRefused(
                f"{_where(pod, node, error['container'])} cannot be checkpointed: {error['words']}",
                checkpoints=made,
            )
        return made

    def volume_path(self, pod: Pod, node: str) -> str:
        if pod.claim is None:
            raise PodError(f"pod {pod.name} has no persistentVolumeClaim to keep its state on", pod=pod.name)
        return self._claim(pod.claim, node)

    def plan(
        self,
        pod: Pod,
        node: str,
        *,
        only: Collection[str] | None = None,
        env: Mapping[str, str] | None = None,
        restore: Mapping[str, Checkpoint] | None = None,
        serve: bool = True,
    ) -> dict[str, Any]:
        """What `pods.apply` on the node is told, for `apply` and for functions that make a pod themselves."""
        supported(pod)
        chosen = [c for c in pod.containers if only is None or c.name in only]
        restored = restore or {}
        return {
            "pod": pod.name,
            "hash": spec_hash(pod),
            "address": pod.address,
            "serve": serve,
            "expires": None,
            "empty": [v.name for v in pod.volumes if not v.claim and not v.host_path],
            "claims": [self._claim(v.claim, node) for v in pod.volumes if v.claim],
            "unpack": None,
            "containers": [self._container(pod, c, node, env or {}, restored.get(c.name)) for c in chosen],
        }

    # ------------------------------------------------------------ asking a node

    def _claim(self, claim: str | None, node: str) -> str:
        return f"{self._volume(node).rstrip('/')}/{claim}"

    def _status_of(self, name: str, node: str) -> PodStatus | None:
        found = self._call(node, "pods", "status", self._patience, pod=name)
        return _status(found, node) if found else None

    def _ask(
        self,
        pod: Pod,
        node: str,
        module: str,
        function: str,
        /,
        *,
        extra: float = 0.0,
        lease: bool = False,
        **arguments: Any,
    ) -> dict[str, Any]:
        limit = self._patience + extra
        if "plan" not in arguments:
            arguments["pod"] = pod.name
        found = self._call(node, module, function, limit, lease=lease, **arguments)
        if error := found.get("error"):
            logs = {name: text for name, text in (found.get("logs") or {}).items() if text}
            said = "".join(f"\n{name} wrote:\n{text}" for name, text in logs.items())
            raise PodError(
                f"{_where(pod, node, error['container'])}: {error['words']}{said}",
                pod=pod.name,
                node=node,
                container=error["container"],
            )
        result: dict[str, Any] = found
        return result

    def _call(
        self, host: str, module: str, function: str, limit: float, /, *, lease: bool = False, **arguments: Any
    ) -> Any:
        """A call that is given up after `limit` seconds. With a `lease` the node is told when that is, so that
        a hung node which comes back later does not start what nobody waits for any more."""
        outcome: list[Any] = []
        failure: list[BaseException] = []
        if time.monotonic() - self._silent.get(host, -_FORGIVEN_AFTER) < _FORGIVEN_AFTER:
            limit = min(limit, _SECOND_CHANCE)

        def work() -> None:
            try:
                node = self._node(host)
                if lease:
                    _lease(arguments, node, limit)
                outcome.append(node.call(module, function, **arguments))
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=work, name=f"{host} {function}", daemon=True)
        thread.start()
        thread.join(limit)
        if failure:
            raise failure[0]
        if not outcome:
            self._silent[host] = time.monotonic()
            raise Unreachable(f"{host} did not answer within {limit:g} s ({module}.{function})")
        self._silent.pop(host, None)
        return outcome[0]

    def _container(
        self,
        pod: Pod,
        container: Container,
        node: str,
        env: Mapping[str, str],
        checkpoint: Checkpoint | None,
    ) -> dict[str, Any]:
        identity = f"{pod.name}.{container.name}"
        log = f"{_LOGS}/{_NAMESPACE}_{pod.name}_{container.name}.log"
        argv = ["run", "--detach", "--log-uri", f"file://{log}"]
        argv += ["--with-ns", f"network:/run/netns/labctl-{pod.name}", "--hostname", pod.name]
        argv += ["--label", f"labctl.pod={pod.name}", "--label", f"labctl.container={container.name}"]
        argv += ["--label", f"labctl.spec={spec_hash(pod)}"]
        for key, value in pod.labels.items():
            argv += ["--label", f"{key}={value}"]
        argv += ["--env-file", f"{_STATE}/{pod.name}/{container.name}.env"]
        argv += ["--annotation", f"org.criu.config={_SETTINGS}"]
        argv += _limits(container)
        for mount in container.mounts:
            options = f"rbind:{'ro' if mount.read_only else 'rw'}"
            argv += [
                "--mount",
                f"type=bind,src={self._source(pod, mount.volume, node)},dst={mount.path},options={options}",
            ]
        if container.working_dir:
            argv += ["--cwd", container.working_dir]
        if checkpoint:
            argv += ["--runc-binary", _RESTORE, "--annotation", f"labctl.restore={checkpoint.path}"]
        given = {"POD_NAME": pod.name, "POD_NAMESPACE": pod.namespace, "NODE_NAME": node}
        return {
            "name": container.name,
            "id": identity,
            "hash": spec_hash(pod),
            "log": log,
            "env": {**given, **container.env, **env},
            "argv": [*argv, container.image, identity, *container.command, *container.args],
        }

    def _source(self, pod: Pod, name: str, node: str) -> str:
        volume = next(v for v in pod.volumes if v.name == name)
        if volume.claim:
            return self._claim(volume.claim, node)
        return volume.host_path or f"{_STATE}/{pod.name}/volumes/{name}"


def supported(pod: Pod) -> None:
    """PodError when the manifest asks for what this runtime cannot give."""
    if pod.restart_policy != "Never":
        raise PodError(
            f"pod {pod.name}: containerd alone restarts nothing; the manifest must say restartPolicy: Never"
        )


def spec_hash(pod: Pod) -> str:
    """Changes when anything that decides how the pod runs does."""
    text = json.dumps([asdict(c) for c in pod.containers] + [asdict(v) for v in pod.volumes], sort_keys=True)
    labels = json.dumps([pod.name, dict(pod.labels), pod.address], sort_keys=True)
    return hashlib.sha256(f"{text}\n{labels}".encode()).hexdigest()[:16]


def _limits(container: Container) -> list[str]:
    limits = container.resources
    argv: list[str] = []
    if limits.cpu_limit:
        argv += ["--cpus", f"{limits.cpu_limit / 1000:g}"]
    request = limits.cpu_request if limits.cpu_request is not None else limits.cpu_limit
    # As the kubelet does: 1024 shares a core, at least 2.
    argv += ["--cpu-shares", str(max(2, (request or 0) * 1024 // 1000))]
    if limits.memory_limit:
        argv += ["--memory-limit", str(limits.memory_limit)]
    return argv


def _lease(arguments: dict[str, Any], node: Node, timeout: float) -> None:
    expires = time.time() + node.clock_offset(_CLOCK_ERROR) + timeout
    if "plan" in arguments:
        arguments["plan"]["expires"] = expires
    else:
        arguments["expires"] = expires


def _status(found: Mapping[str, Any], node: str) -> PodStatus:
    containers = {one["name"]: ContainerStatus(**one) for one in found["containers"]}
    return PodStatus(found["pod"], node, found["address"], containers, found["hash"])


def _where(pod: Pod, node: str, container: str | None) -> str:
    return f"container {container} of pod {pod.name} on {node}" if container else f"pod {pod.name} on {node}"
