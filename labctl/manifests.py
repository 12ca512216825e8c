"""What the task types that take a pod's manifest share: the pod it describes, and where its volumes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.errors import PlaybookError
from labctl.pods.manifest import load_pod
from labctl.pods.model import Pod
from labctl.task_types import Context


def pod_of(ctx: Context, manifest: str, patch: Mapping[str, Any], env: Mapping[str, Any]) -> Pod:
    """The pod of a manifest, which is a template, patched and with `env` in every container. Its address, where
    the manifest has none, is the variable `pod_address`. PlaybookError."""
    path = ctx.find("files", manifest)
    address = ctx.variables.get("pod_address")
    text = ctx.template(path.read_text())
    pod = load_pod(path, text, patch, str(address) if address else None)
    return pod.with_env({key: str(value) for key, value in env.items()})


def volume(ctx: Context, host: str) -> str:
    """The folder on a host below which claims are folders. PlaybookError when no variable says it."""
    variables = ctx.vars_of(host)
    path = variables.get("volume_path") or variables.get("shared_volume")
    if not path:
        raise PlaybookError(
            f"no variable 'volume_path' says where {host} has the shared volume",
            mark=ctx.mark,
            hint="set it in the inventory's group_vars/all.yml",
        )
    return str(path)
