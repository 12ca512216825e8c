"""What a migration strategy may ask of the thing that runs pods.

`containerd` implements it over a node's agent; a Kubernetes cluster will implement it over its API.
Strategies are written once, over this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from labctl.node.api import Completed
from labctl.pods.model import Pod, PodStatus
from labctl.records import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A container's memory on the shared volume. `path` is valid on every node; sizes in bytes, times in
    seconds. `frozen_seconds` is CRIU's own figure for how long the processes stood still, or None."""

    container: str
    path: str
    size: int
    seconds: float
    frozen_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """The state a container wrote to the shared volume when asked: which step it is of, its hash, its size
    in bytes, and how long the container took to write it, in seconds."""

    container: str
    step: int | None
    sha256: str | None
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """What the pod's service must tell before a wait ends: a step of at least `step` (None: any), and
    these containers as completed. `url` is the service's, JSON with `step` and `completed`."""

    url: str
    step: int | None = None
    completed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Healthy:
    """A pod that serves. `waited` seconds; `told` is the service's last answer; `wall` is when it was seen,
    on the node's clock."""

    status: PodStatus
    waited: float
    told: Mapping[str, Any] | None
    wall: float


class PodRuntime(Protocol):
    """Nodes are inventory names. Every method raises PodError (labctl.pods.errors) with the container and
    the runtime's own words when it cannot do what it was asked, and leaves no half-made pod behind; and
    Unreachable when a node does not answer in time."""

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
        """Create the pod on a node and start its containers (`only` these), with `env` added to each;
        those in `restore` continue from their checkpoint. All of them, or none. Where the pod already is,
        the containers asked for are made anew and the others stay as they are. `serve`: the pod's address
        leads here at once."""

    def serve(self, pod: Pod, node: str) -> None:
        """From now on the pod's address (Kubernetes: its Service) leads to this node."""

    def wait(self, pod: Pod, node: str, timeout: float, progress: Progress | None = None) -> Healthy:
        """Wait until every container runs or has completed, those with a readiness probe are ready, and the
        service tells the progress asked for. PodError when a container fails or the time is over."""

    def delete(self, pod: Pod, node: str, *, grace_seconds: float | None = None) -> bool:
        """SIGTERM, then SIGKILL after the grace period (None: the manifest's); False when not there."""

    def status(self, pod: Pod, node: str) -> PodStatus | None:
        """None when the pod is not on this node. Containers that ended keep their exit code and reason."""

    def find(self, name: str) -> PodStatus | None:
        """The pod on whichever node has it."""

    def logs(self, pod: Pod, node: str, container: str) -> str: ...

    def exec(self, pod: Pod, node: str, container: str, argv: Sequence[str]) -> Completed: ...

    def signal(self, pod: Pod, node: str, container: str, name: str) -> None:
        """Send a signal ('USR1') to the container's first process."""

    def pause(self, pod: Pod, node: str, containers: Collection[str]) -> None: ...

    def unpause(self, pod: Pod, node: str, containers: Collection[str]) -> None: ...

    def save(self, pod: Pod, node: str, container: str, timeout: float) -> Saved:
        """Ask a stateful container to save its state to the shared volume and to hold: it then does nothing
        more until SIGUSR2. The protocol: `save.request` ({"request": id}) on the volume, SIGUSR1, and
        `saved.json` with that id (and `error`, when it could not and so goes on)."""

    def prepare(self, pod: Pod, node: str, *, need_bytes: int = 0) -> None:
        """Check that the node can take the pod: reachable, images there, volumes mounted and writable (with
        `need_bytes` free), not already running it. The cheap failures happen here, while the source still
        runs."""

    def checkpoint_refusal(self, node: str) -> str | None:
        """Why this node cannot checkpoint and restore (from a real probe, remembered), or None."""

    def checkpoint(
        self, pod: Pod, node: str, containers: Collection[str], directory: str
    ) -> dict[str, Checkpoint]:
        """Write the memory of containers below `directory` of the shared volume and end them there. When one
        of them cannot be, CheckpointRefused carries the `checkpoints` of those that had ended already."""

    def volume_path(self, pod: Pod, node: str) -> str:
        """Where the shared volume (the pod's claim) is on a node."""

    def kind(self) -> Literal["containerd", "kubernetes"]: ...
