"""Errors of pod runtimes and migrations."""

from __future__ import annotations

from labctl.errors import TaskFailed


class PodError(TaskFailed):
    """A pod operation failed; `values` may hold pod, node, container and the runtime's words."""


class CheckpointRefused(PodError):
    """The runtime could not checkpoint or restore a container."""
