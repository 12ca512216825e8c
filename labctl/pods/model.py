"""The Pod model: the part of a Kubernetes v1 Pod that labctl's runtimes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from labctl.records import dataclass, field

State = Literal["waiting", "running", "terminated"]
ADDRESS = "labctl/address"
STATEFUL = "labctl/stateful"


@dataclass(frozen=True, slots=True)
class Resources:
    """CPU in millicores, memory in bytes; None where the manifest does not say."""

    cpu_request: int | None = None
    cpu_limit: int | None = None
    memory_request: int | None = None
    memory_limit: int | None = None


@dataclass(frozen=True, slots=True)
class VolumeMount:
    volume: str
    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A pod volume: a directory of the node (`host_path`), the shared storage (`claim`), or an empty
    directory that lives and dies with the pod on its node (neither)."""

    name: str
    host_path: str | None = None
    claim: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """How a container says that it can serve: an HTTP GET of `path` answered with 2xx or 3xx, or, without
    a path, a TCP connection that is accepted."""

    port: int
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    ports: tuple[int, ...] = ()
    resources: Resources = field(default_factory=Resources)
    mounts: tuple[VolumeMount, ...] = ()
    readiness: Readiness | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod; `manifest` is the whole parsed document, for a runtime that hands it on unchanged.

    Two annotations are labctl's own: `labctl/address`, an address of the nodes' network that belongs to
    the pod and moves with it, and `labctl/stateful`, the names (separated by commas) of containers that
    save their state and hold when asked to (see `PodRuntime.save`)."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...]
    restart_policy: str
    grace_seconds: int
    manifest: Mapping[str, Any]

    @property
    def address(self) -> str | None:
        return self.annotations.get(ADDRESS)

    @property
    def stateful(self) -> tuple[str, ...]:
        text = self.annotations.get(STATEFUL, "")
        return tuple(name.strip() for name in text.split(",") if name.strip())

    @property
    def claim(self) -> str | None:
        """The claim of the pod's first shared volume."""
        return next((volume.claim for volume in self.volumes if volume.claim), None)

    def with_env(self, env: Mapping[str, str]) -> Pod:
        """The pod with `env` added to each container."""
        changed = tuple(replace(c, env={**c.env, **env}) for c in self.containers)
        return replace(self, containers=changed)

    def url(self, path: str) -> str | None:
        """Where the pod's first port answers at `path`; None without a port or an address."""
        port = next((port for container in self.containers for port in container.ports), None)
        return f"http://{self.address}:{port}{path}" if port and self.address else None

    def container(self, name: str) -> Container:
        return next(c for c in self.containers if c.name == name)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """One container as it is. `reason` is Kubernetes' word: Completed, Error, OOMKilled, or a runtime's
    own. Times are seconds since the epoch on the node's clock; `cgroups` maps a controller ('unified'
    on cgroup v2, else 'cpuacct', 'cpu', 'memory', …) to a path the node's collector can read."""

    name: str
    state: State
    id: str | None = None
    pid: int | None = None
    exit_code: int | None = None
    reason: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    restarts: int = 0
    paused: bool = False
    cgroups: Mapping[str, str] = field(default_factory=dict)

    @property
    def completed(self) -> bool:
        return self.state == "terminated" and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class PodStatus:
    """A pod as it is on its node. `address` is where its ports answer (bridge or pod network)."""

    name: str
    node: str
    address: str | None
    containers: Mapping[str, ContainerStatus]
    spec: str | None = None  # hash of what it was made from

    @property
    def running(self) -> list[str]:
        return [c.name for c in self.containers.values() if c.state == "running"]
