"""The embedded lab: real nodes on this machine, made from one inventory file, removed without a trace."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from labctl.errors import EnvironmentProblem, Mark, UsageError, did_you_mean
from labctl.lab import cgroups, network, nodefiles, rootfs, state, system
from labctl.lab.container import Container
from labctl.lab.state import LabState
from labctl.lab.system import Progress
from labctl.paths import cache_dir, state_dir
from labctl.records import dataclass

MAX_NODES = 100  # addresses .11 to .110; the rest of the network is for pods


class Spec(Protocol):
    """A lab as an inventory describes it (`labctl.inventory.LabSpec`)."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def nodes(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def mark(self) -> Mark | None: ...


@dataclass(frozen=True)
class NodeStatus:
    """One node now. `state` is LXC's word, or 'MISSING' before it was made; `ssh`: its sshd answers."""

    name: str
    state: str
    address: str | None
    ssh: bool


def _silent(message: str, fraction: float | None) -> None:
    """The progress of those who do not ask."""


class Lab:
    """The nodes of one lab. Every method may be called again, in any order, after any crash.

    `instance` names another lab of the same inventory (tests make their own). Not for several threads at
    once; several processes wait for each other."""

    def __init__(self, spec: Spec, *, instance: str | None = None) -> None:
        self.spec = spec
        self.instance = instance
        digest = hashlib.sha256(str(spec.path.resolve()).encode()).hexdigest()[:8]
        self.folder = labs_dir() / "-".join(filter(None, (_slug(spec.name), digest, instance)))

    @property
    def shared(self) -> Path:
        """The directory behind /srv/shared of the nodes, on this machine."""
        return self.folder / "shared"

    @property
    def key_file(self) -> Path:
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def up(self, progress: Progress = _silent) -> None:
        """Bring every node up and wait until its sshd answers; what is up already stays as it is.

        EnvironmentProblem when this machine cannot (no root, no LXC, no archive to build from)."""
        system.require_root()
        self._check_spec()
        with state.locked(self.folder, progress):
            found = rootfs.cached(cache_dir())
            build = not (found and found.criu)
            needed = {**system.PACKAGES, **(system.BUILD_PACKAGES if build else {})}
            if missing := system.missing(needed):
                system.install(missing, progress)
            if found is None or build:
                found = rootfs.ensure(cache_dir(), progress)
            self._up(found, progress)

    def _up(self, root: rootfs.Rootfs, progress: Progress) -> None:
        known = state.load(self.folder)
        if known and (known.nodes != list(self.spec.nodes) or known.rootfs != str(root.path)):
            progress("the lab's recipe has changed: making it anew", None)
            self._remove(known)
            known = None
        if known is None:
            known = self._begin(root)
        containers = _containers(known, self.folder) if known.bridge else []
        if not (containers and self._network_is_up(known)):
            for container in containers:
                container.kill()
            known = self._network(known)
            containers = _containers(known, self.folder)
        with ThreadPoolExecutor(max_workers=8) as pool:
            healthy = list(pool.map(_healthy, containers))
            down = [c for c, well in zip(containers, healthy, strict=True) if not well]
            if down:
                self._start(down, containers, pool, progress)
        if not root.criu:
            progress(f"no CRIU on the nodes, so the strategy 'live' cannot be used: {root.no_criu}", None)

    def _begin(self, root: rootfs.Rootfs) -> LabState:
        """Write down what will be made before making it, so that `down` finds it after a crash."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o711)
        known = LabState(
            id=state.new_id(),
            name=self.spec.name,
            path=str(self.spec.path.resolve()),
            instance=self.instance,
            nodes=list(self.spec.nodes),
            rootfs=str(root.path),
        )
        known.save(self.folder)
        return known

    def _network_is_up(self, known: LabState) -> bool:
        assert known.bridge
        assert known.subnet
        return network.is_up(known.id, known.bridge, known.subnet)

    def _network(self, known: LabState) -> LabState:
        if known.bridge and known.subnet:
            network.remove_bridge(known.id, known.bridge)
            if network.remake_bridge(known.id, known.bridge, known.subnet):
                return known
        bridge, subnet = network.make_bridge(known.id)
        known = replace(known, bridge=bridge, subnet=subnet)
        known.save(self.folder)
        return known

    def _start(
        self,
        down: list[Container],
        everyone: list[Container],
        pool: ThreadPoolExecutor,
        progress: Progress,
    ) -> None:
        note = cgroups.prepare(cgroups.hierarchies())
        if note:
            progress(note, None)
        _check_filesystem(self.folder)
        system.load_nfs()
        if not self.key_file.exists():
            comment = f"labctl {self.spec.name}"
            system.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(self.key_file)]
            )
        self.shared.mkdir(exist_ok=True)
        (self.shared / nodefiles.MARKER).write_text("shared-directory\n")
        public = self.key_file.with_suffix(".pub").read_text()
        hosts = _hosts_file(everyone)
        progress(f"starting {', '.join(c.name for c in down)}", 0.0)

        def bring_up(container: Container) -> None:
            container.kill()
            container.folder.mkdir(parents=True, exist_ok=True)
            container.write(hosts, public)
            container.start()
            container.wait_for_sshd()

        futures = [pool.submit(bring_up, container) for container in down]
        for finished, (container, future) in enumerate(zip(down, futures, strict=True), 1):
            future.result()
            progress(f"{container.name} answers at {container.address}", finished / len(down))
        lines = [f"{c.name},{c.address} {c.host_key()}\n" for c in everyone]
        self.known_hosts.write_text("".join(lines))

    def down(self, progress: Progress = _silent) -> None:
        """Remove the lab: containers, bridge, mounts, cgroups, processes and files. What labctl did not make
        is not touched."""
        system.require_root()
        with state.locked(self.folder, progress) as lock:
            if known := state.load(self.folder):
                progress(f"removing the lab {known.name}", None)
                self._remove(known)
            elif self.folder.exists():
                _remove_files(self.folder)
            lock.unlink()

    def _remove(self, known: LabState) -> None:
        if shutil.which("lxc-stop", path=system.environment()["PATH"]) and known.bridge:
            with ThreadPoolExecutor(max_workers=8) as pool:
                containers = _containers(known, self.folder)
                list(pool.map(Container.release_nfs, containers))
                list(pool.map(Container.kill, containers))
        cgroups.kill(known.id)
        if known.bridge:
            network.remove_bridge(known.id, known.bridge)
        cgroups.remove(known.id)
        _remove_files(self.folder)

    def status(self) -> list[NodeStatus]:
        """Every node of the lab, in the inventory's order."""
        known = state.load(self.folder)
        if known is None or not known.bridge:
            return [NodeStatus(name, "MISSING", None, ssh=False) for name in self.spec.nodes]
        return [
            NodeStatus(c.name, word, c.address, ssh=word == "RUNNING" and c.greets(3.0))
            for c in _containers(known, self.folder)
            for word in [c.state()]
        ]

    def connection(self, node: str) -> dict[str, Any]:
        """The inventory variables that reach a node, and what a playbook may ask about it."""
        container = self.container(node)
        root = rootfs.read(container.rootfs)
        return {
            "ansible_host": container.address,
            "ansible_port": 22,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key_file),
            "ansible_host_key_checking": "strict",
            "ansible_python_interpreter": "/usr/bin/python3",
            "labctl_known_hosts": str(self.known_hosts),
            "lab_volume_path": nodefiles.SHARED,
            "lab_criu": root.criu,
            "lab_no_criu": root.no_criu,
        }

    def container(self, node: str) -> Container:
        known = state.load(self.folder)
        if known is None or not known.bridge:
            raise EnvironmentProblem(f"the lab {self.spec.name} is not up", hint="labctl lab up")
        found = {container.name: container for container in _containers(known, self.folder)}
        if node not in found:
            raise UsageError(f"the lab has no node '{node}'", hint=did_you_mean(node, found))
        return found[node]

    def freeze(self, node: str) -> None:
        """Stop every process of a node where it stands: it hangs, and answers nothing."""
        system.run(self.container(node).lxc("lxc-freeze"))

    def thaw(self, node: str) -> None:
        system.run(self.container(node).lxc("lxc-unfreeze"))

    def cut(self, node: str) -> None:
        """Take the node off the network."""
        system.run(["ip", "link", "set", "dev", self.container(node).veth, "down"])

    def restore(self, node: str) -> None:
        system.run(["ip", "link", "set", "dev", self.container(node).veth, "up"])

    def _check_spec(self) -> None:
        nodes = list(self.spec.nodes)
        if not 1 <= len(nodes) <= MAX_NODES:
            raise UsageError(f"a lab has 1 to {MAX_NODES} nodes, not {len(nodes)}", mark=self.spec.mark)
        for name in nodes:
            if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", name):
                raise UsageError(
                    f"'{name}' cannot name a lab node: small letters, digits and '-'",
                    mark=getattr(name, "mark", None) or self.spec.mark,
                )
        if re.search(r"[:,\s\\]", str(self.folder)) or re.search(r"[:,\s\\]", str(cache_dir())):
            raise EnvironmentProblem(
                f"an overlay root cannot be made in a folder whose name holds ':', ',' or a space: {self.folder}",
                hint="set LABCTL_STATE and LABCTL_CACHE to other folders",
            )


def labs_dir() -> Path:
    return state_dir() / "labs"


def existing() -> Iterable[tuple[Path, LabState]]:
    """Every lab this machine's state folder knows of."""
    for folder in sorted(labs_dir().glob("*/")):
        if known := state.load(folder):
            yield folder, known


def _containers(known: LabState, folder: Path) -> list[Container]:
    assert known.bridge
    assert known.subnet
    return [
        Container(
            lab=known.id,
            name=name,
            index=index,
            folder=folder / "nodes" / f"{known.id}-{name}",
            rootfs=Path(known.rootfs),
            shared=folder / "shared",
            bridge=known.bridge,
            address=network.address(known.subnet, index),
        )
        for index, name in enumerate(known.nodes)
    ]


def _healthy(container: Container) -> bool:
    word = container.state()
    if word == "FROZEN":
        system.run(container.lxc("lxc-unfreeze"))
        word = container.state()
    if word != "RUNNING":
        return False
    system.run(["ip", "link", "set", "dev", container.veth, "up"], check=False)
    return container.greets(10.0)


def _hosts_file(containers: Iterable[Container]) -> str:
    own = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
    return own + "".join(f"{c.address} {c.name}\n" for c in containers)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24] or "lab"


def _check_filesystem(folder: Path) -> None:
    kind = system.run(["stat", "-f", "-c", "%T", str(folder)]).stdout.strip()
    if kind in ("overlayfs", "nfs", "fuseblk", "9p", "v9fs", "smb2"):
        raise EnvironmentProblem(
            f"{folder} is on {kind}, which cannot carry the nodes' overlay roots",
            hint="set LABCTL_STATE and LABCTL_CACHE to folders on a disk's own file system (ext4, xfs, btrfs)",
        )


def _remove_files(folder: Path) -> None:
    """Remove the lab's folder; a mount still below it is taken off first, and nothing beyond is deleted."""
    for mount in _mounts_below(folder):
        system.run(["umount", mount], check=False)
    if left := _mounts_below(folder):
        raise EnvironmentProblem(f"still mounted in the lab's folder: {', '.join(left)}")
    shutil.rmtree(folder, ignore_errors=False)


def _mounts_below(folder: Path) -> list[str]:
    prefix = f"{os.path.realpath(folder)}/"
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        points = [line.split(" ")[4].encode().decode("unicode_escape") for line in stream]
    return [point for point in reversed(points) if point.startswith(prefix)]
