"""What a migration strategy may ask of the thing that runs pods.

`containerd` implements it over a node's agent; a Kubernetes cluster will implement it over its API.
Strategies are written once, over this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from labctl.node.api import Completed
from labctl.pods.model import Pod, PodStatus


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A container's memory on the shared volume. `path` is valid on every node; sizes in bytes, times in
    seconds. `frozen_seconds` is CRIU's own figure for how long the processes stood still, or None."""

    container: str
    path: str
    size: int
    seconds: float
    frozen_seconds: float | None = None


class PodRuntime(Protocol):
    """Nodes are inventory names. Every method raises PodError (labctl.pods.errors) with the container and
    the runtime's own words when it cannot do what it was asked, and leaves no half-made pod behind."""

    def apply(
        self,
        pod: Pod,
        node: str,
        *,
        only: Collection[str] | None = None,
        env: Mapping[str, str] | None = None,
        restore: Mapping[str, Checkpoint] | None = None,
    ) -> PodStatus:
        """Create the pod on a node and start its containers (`only` these), with `env` added to each;
        those in `restore` continue from their checkpoint. All of them, or none."""

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

    def prepare(self, pod: Pod, node: str) -> None:
        """Check that the node can take the pod: reachable, images there, volumes mounted and writable, not
        already running it. The cheap failures happen here, while the source still runs."""

    def checkpoint_refusal(self, node: str) -> str | None:
        """Why this node cannot checkpoint and restore (from a real probe, remembered), or None."""

    def checkpoint(self, pod: Pod, node: str, container: str, directory: str) -> Checkpoint:
        """Write the container's memory below `directory` of the shared volume and end it there."""

    def volume_path(self, pod: Pod, node: str) -> str:
        """Where the shared volume (the pod's claim) is on a node."""

    def kind(self) -> Literal["containerd", "kubernetes"]: ...
