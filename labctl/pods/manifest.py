"""Kubernetes v1 Pod YAML -> Pod. What labctl's runtimes do not support is refused by name, with its position."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.errors import Mark, PlaybookError, did_you_mean
from labctl.pods.model import ADDRESS, Container, Pod, Readiness, Resources, Volume, VolumeMount
from labctl.pods.quantity import millicores, size_bytes

# Fields of Kubernetes that are read; that may stand there but change nothing here; that are refused.
_POD = ({"apiVersion", "kind", "metadata", "spec"}, {"status"}, set[str]())
_METADATA = (
    {"name", "namespace", "labels", "annotations"},
    {"uid", "resourceVersion", "creationTimestamp", "selfLink", "managedFields", "generation"},
    {"generateName", "finalizers", "ownerReferences"},
)
_SPEC = (
    {"containers", "volumes", "restartPolicy", "terminationGracePeriodSeconds"},
    {"nodeName", "enableServiceLinks", "automountServiceAccountToken", "schedulerName", "nodeSelector"},
    {
        *("initContainers", "ephemeralContainers", "securityContext", "serviceAccountName", "hostNetwork"),
        *("hostPID", "hostIPC", "dnsPolicy", "dnsConfig", "affinity", "tolerations", "priorityClassName"),
        *("runtimeClassName", "activeDeadlineSeconds", "hostname", "subdomain", "hostAliases"),
        *("imagePullSecrets", "shareProcessNamespace", "topologySpreadConstraints", "overhead"),
    },
)
_CONTAINER = (
    {
        *("name", "image", "command", "args", "env", "workingDir", "ports", "resources", "volumeMounts"),
        "readinessProbe",
    },
    {"imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"},
    {
        *("livenessProbe", "startupProbe", "lifecycle", "securityContext", "envFrom", "volumeDevices"),
        *("stdin", "stdinOnce", "tty", "resizePolicy"),
    },
)
_PROBE = (
    {"httpGet", "tcpSocket"},
    {"periodSeconds", "timeoutSeconds", "initialDelaySeconds", "successThreshold", "failureThreshold"},
    {"exec", "grpc"},
)
_VOLUME = (
    {"name", "hostPath", "persistentVolumeClaim", "emptyDir"},
    set[str](),
    {"configMap", "secret", "projected", "downwardAPI", "nfs", "csi", "ephemeral", "iscsi"},
)
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def load_pod(
    path: Path,
    text: str | None = None,
    patch: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> Pod:
    """The Pod in a manifest file (or in `text`, when it was rendered from it), after a strategic merge patch:
    mappings are merged, lists whose items have a `name` are merged by name, all else is replaced. `address`
    is the pod's where the manifest names none."""
    document = yaml.load_file(str(path)) if text is None else yaml.load(text, str(path))
    mark = Mark(str(path), 1, 1)
    if not isinstance(document, yaml.Mapping):
        raise PlaybookError("a Pod manifest is a mapping", mark=mark)
    pod = parse_pod(merge(document, patch or {}))
    if address and not pod.address:
        pod = replace(pod, annotations={**pod.annotations, ADDRESS: address})
    if pod.address:
        try:
            IPv4Address(pod.address)
        except ValueError:
            raise PlaybookError(
                f"the pod's address '{pod.address}' is not an IPv4 address", mark=mark
            ) from None
    return pod


def merge(base: Any, patch: Any) -> Any:
    """Kubernetes' strategic merge, as far as Pods need it; positions are the base's where it has one."""
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        merged = yaml.Mapping(_mark(base))
        merged.update(base)
        if isinstance(base, yaml.Mapping):
            merged.key_marks.update(base.key_marks)
            merged.value_marks.update(base.value_marks)
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = merge(base[key], value) if key in base else value
        return merged
    if _named(base) and _named(patch):
        changes = {item["name"]: item for item in patch}
        known = [item["name"] for item in base]
        kept = [merge(item, changes.get(item["name"], {})) for item in base]
        return [*kept, *(item for item in patch if item["name"] not in known)]
    return patch


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)


def parse_pod(document: Mapping[str, Any]) -> Pod:
    """PlaybookError with the position of whatever is wrong or not supported."""
    top = _Fields(document, "a Pod", _POD)
    if top.get("kind", str) != "Pod" or str(top.get("apiVersion", str)) != "v1":
        raise PlaybookError("the manifest must be of kind Pod, apiVersion v1", mark=top.mark("kind"))
    metadata = _Fields(top.need("metadata", Mapping), "metadata", _METADATA)
    spec = _Fields(top.need("spec", Mapping), "a Pod's spec", _SPEC)
    volumes = tuple(_volume(item) for item in spec.items("volumes"))
    containers = tuple(_container(item, {v.name for v in volumes}) for item in spec.items("containers"))
    names = [container.name for container in containers]
    if not names:
        raise PlaybookError("a Pod needs at least one container", mark=spec.mark("containers"))
    if len(set(names)) < len(names):
        raise PlaybookError("two containers have the same name", mark=spec.mark("containers"))
    policy = str(spec.get("restartPolicy", str) or "Always")
    if policy not in ("Always", "OnFailure", "Never"):
        raise PlaybookError(
            f"restartPolicy must be Always, OnFailure or Never, not '{policy}'",
            mark=spec.mark("restartPolicy"),
        )
    grace = spec.get("terminationGracePeriodSeconds", int)
    pod = Pod(
        name=_label(metadata, "name"),
        namespace=str(metadata.get("namespace", str) or "default"),
        labels=_texts(metadata, "labels"),
        annotations=_texts(metadata, "annotations"),
        containers=containers,
        volumes=volumes,
        restart_policy=policy,
        grace_seconds=30 if grace is None else grace,
        manifest=document,
    )
    for name in pod.stateful:
        if name not in names:
            raise PlaybookError(
                f"labctl/stateful names '{name}', which is no container of the pod",
                mark=metadata.mark("annotations"),
                hint=did_you_mean(name, names),
            )
    return pod


class _Fields:
    """One mapping of the manifest: its fields by name and type, and where they stand."""

    def __init__(self, values: Any, what: str, fields: tuple[set[str], set[str], set[str]]) -> None:
        if not isinstance(values, Mapping):
            raise PlaybookError(f"{what} is a mapping", mark=yaml.mark_of(values))
        self.values, self.what = values, what
        known, ignored, refused = fields
        for key in values:
            if key in refused:
                raise PlaybookError(f"labctl's pods do not support '{key}' of {what}", mark=self.mark(key))
            if key not in known | ignored:
                raise PlaybookError(
                    f"{what} has no field '{key}'",
                    mark=self.mark(key),
                    hint=did_you_mean(str(key), known | ignored | refused),
                )

    def mark(self, key: object) -> Mark | None:
        if isinstance(self.values, yaml.Mapping):
            return self.values.key_mark(key)
        return None

    def get(self, key: str, kind: type | tuple[type, ...]) -> Any:
        value = self.values.get(key)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is int)):
            names = {
                str: "a string",
                int: "an integer",
                list: "a list",
                Mapping: "a mapping",
                bool: "a boolean",
            }
            wanted = names.get(kind, "another value") if isinstance(kind, type) else "another value"
            raise PlaybookError(f"'{key}' of {self.what} must be {wanted}", mark=self.mark(key))
        return value

    def need(self, key: str, kind: type) -> Any:
        value = self.get(key, kind)
        if value is None or value == "":
            raise PlaybookError(f"{self.what} needs '{key}'", mark=self.mark(key))
        return value

    def items(self, key: str) -> Sequence[Any]:
        found: Sequence[Any] = self.get(key, list) or ()
        return found


def _label(fields: _Fields, key: str) -> str:
    name = str(fields.need(key, str))
    if not _DNS_LABEL.fullmatch(name):
        raise PlaybookError(
            f"'{name}' is not a name: lower-case letters, digits and '-', at most 63",
            mark=fields.mark(key),
        )
    return name


def _texts(fields: _Fields, key: str) -> dict[str, str]:
    values = fields.get(key, Mapping) or {}
    for name, value in values.items():
        if not isinstance(value, str):
            raise PlaybookError(f"'{name}' in {key} must be a string", mark=fields.mark(key), hint="quote it")
    return {str(name): str(value) for name, value in values.items()}


def _volume(item: Any) -> Volume:
    fields = _Fields(item, "a volume", _VOLUME)
    name = _label(fields, "name")
    kinds = [kind for kind in ("hostPath", "persistentVolumeClaim", "emptyDir") if kind in fields.values]
    if len(kinds) != 1:
        raise PlaybookError(
            f"volume '{name}' needs exactly one of hostPath, persistentVolumeClaim, emptyDir",
            mark=fields.mark("name"),
        )
    source = fields.get(kinds[0], Mapping) or {}
    if kinds[0] == "hostPath":
        inner = _Fields(source, "hostPath", ({"path"}, {"type"}, set()))
        return Volume(name, host_path=str(inner.need("path", str)))
    if kinds[0] == "persistentVolumeClaim":
        inner = _Fields(source, "persistentVolumeClaim", ({"claimName", "readOnly"}, set(), set()))
        return Volume(name, claim=_label(inner, "claimName"))
    _Fields(source, "emptyDir", (set(), {"sizeLimit", "medium"}, set()))
    return Volume(name)


def _container(item: Any, volumes: set[str]) -> Container:
    fields = _Fields(item, "a container", _CONTAINER)
    name = _label(fields, "name")
    ports = [
        _Fields(port, "a port", ({"containerPort", "name"}, {"protocol"}, {"hostPort", "hostIP"}))
        for port in fields.items("ports")
    ]
    numbers = tuple(int(port.need("containerPort", int)) for port in ports)
    by_name = {port.get("name", str): number for port, number in zip(ports, numbers, strict=True)}
    command, args = _words(fields, "command"), _words(fields, "args")
    if args and not command:
        raise PlaybookError(f"container '{name}': 'args' need a 'command' here", mark=fields.mark("args"))
    return Container(
        name=name,
        image=str(fields.need("image", str)),
        command=command,
        args=args,
        env=_environment(fields),
        working_dir=fields.get("workingDir", str),
        ports=numbers,
        resources=_resources(fields),
        mounts=tuple(_mount(mount, volumes) for mount in fields.items("volumeMounts")),
        readiness=_readiness(fields, by_name),
    )


def _words(fields: _Fields, key: str) -> tuple[str, ...]:
    values = fields.items(key)
    if any(not isinstance(value, str) for value in values):
        raise PlaybookError(
            f"'{key}' of a container is a list of strings", mark=fields.mark(key), hint="quote numbers"
        )
    return tuple(str(value) for value in values)


def _environment(fields: _Fields) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in fields.items("env"):
        variable = _Fields(item, "an environment variable", ({"name", "value"}, set(), {"valueFrom"}))
        name, value = str(variable.need("name", str)), variable.values.get("value", "")
        if not isinstance(value, str):
            raise PlaybookError(
                f"the value of '{name}' must be a string", mark=variable.mark("value"), hint="quote it"
            )
        if "\n" in value or "\n" in name or "=" in name:
            raise PlaybookError(f"the value of '{name}' must be one line", mark=variable.mark("value"))
        found[name] = str(value)
    return found


def _resources(fields: _Fields) -> Resources:
    whole = _Fields(
        fields.get("resources", Mapping) or {}, "resources", ({"requests", "limits"}, set(), {"claims"})
    )
    found: dict[str, int] = {}
    readers: dict[str, Callable[[object], int]] = {"cpu": millicores, "memory": size_bytes}
    for kind in ("requests", "limits"):
        part = _Fields(whole.get(kind, Mapping) or {}, kind, (set(readers), {"ephemeral-storage"}, set()))
        for name, reader in readers.items():
            if name in part.values:
                try:
                    found[f"{name}_{kind[:-1]}"] = reader(part.values[name])
                except ValueError as error:
                    raise PlaybookError(f"{name} of {kind}: {error}", mark=part.mark(name)) from None
        for name in readers:
            request, limit = found.get(f"{name}_request"), found.get(f"{name}_limit")
            if request is not None and limit is not None and request > limit:
                raise PlaybookError(f"{name}: the request is above the limit", mark=part.mark(name))
    return Resources(**found)


def _mount(item: Any, volumes: set[str]) -> VolumeMount:
    fields = _Fields(
        item,
        "a volume mount",
        ({"name", "mountPath", "readOnly"}, set(), {"subPath", "subPathExpr", "mountPropagation"}),
    )
    name = str(fields.need("name", str))
    if name not in volumes:
        raise PlaybookError(
            f"there is no volume '{name}' in the pod",
            mark=fields.mark("name"),
            hint=did_you_mean(name, volumes),
        )
    path = str(fields.need("mountPath", str))
    if not path.startswith("/") or "," in path:
        raise PlaybookError(
            f"mountPath '{path}' must be an absolute path without ','", mark=fields.mark("mountPath")
        )
    return VolumeMount(name, path, bool(fields.get("readOnly", bool)))


def _readiness(fields: _Fields, ports: Mapping[str | None, int]) -> Readiness | None:
    value = fields.get("readinessProbe", Mapping)
    if value is None:
        return None
    probe = _Fields(value, "a readinessProbe", _PROBE)
    kind = next((kind for kind in ("httpGet", "tcpSocket") if kind in probe.values), None)
    if kind is None:
        raise PlaybookError("a readinessProbe needs httpGet or tcpSocket", mark=fields.mark("readinessProbe"))
    known = {"path", "port"} if kind == "httpGet" else {"port"}
    target = _Fields(probe.get(kind, Mapping), kind, (known, {"scheme", "httpHeaders"}, {"host"}))
    port = target.values.get("port")
    number = ports.get(port) if isinstance(port, str) else port
    if not isinstance(number, int):
        raise PlaybookError(f"there is no port '{port}' in the container", mark=target.mark("port"))
    return Readiness(number, str(target.get("path", str) or "/") if kind == "httpGet" else None)


def _mark(value: Any) -> Mark:
    return yaml.mark_of(value) or Mark("<patch>", 1, 1)
