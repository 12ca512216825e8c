"""What a node is a guest of, or a host for."""

from __future__ import annotations

import os

from labctl.node.functions.facts_text import content, lines, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import List, Optional, Set, Tuple

    from labctl.node.functions.facts_text import Facts

_CGROUPS = (
    ("/docker/", "docker"),
    ("/lxc/", "lxc"),
    ("/machine.slice/machine-lxc", "lxc"),
    ("/system.slice/containerd.service", "containerd"),
)
_CONTAINERS = {"docker", "lxc", "podman", "openvz", "containerd"}
_PRODUCTS = {
    **dict.fromkeys(("KVM", "KVM Server", "Bochs", "AHV", "CloudStack KVM Hypervisor"), "kvm"),
    **dict.fromkeys(("OpenStack Compute", "OpenStack Nova"), "openstack"),
}
_BIOSES = {
    "Xen": "xen",
    "innotek GmbH": "virtualbox",
    **dict.fromkeys(("Amazon EC2", "DigitalOcean", "Hetzner", "Linode"), "kvm"),
}
_VENDORS = {
    "oVirt": "oVirt",
    **dict.fromkeys(("QEMU", "Amazon EC2", "DigitalOcean", "Google", "Scaleway", "Nutanix"), "kvm"),
    "KubeVirt": "KubeVirt",
    "Microsoft Corporation": "VirtualPC",
    "Parallels Software International Inc.": "parallels",
    "OpenStack Foundation": "openstack",
}
# The start of a line of /proc/cpuinfo, and what follows in it.
_PROCESSORS = (
    ("model name", "QEMU Virtual CPU", "kvm"),
    ("vendor_id", "User Mode Linux", "uml"),
    ("model name", "UML", "uml"),
    ("machine", "CHRP IBM pSeries (emulated by qemu)", "kvm"),
    ("vendor_id", "PowerVM Lx86", "powervm_lx86"),
    ("vendor_id", "IBM/S390", "PR/SM"),
)


class _Found:
    """What was found, the first being the type."""

    def __init__(self) -> None:
        self.guest: Set[str] = set()
        self.host: Set[str] = set()
        self.first: Optional[Tuple[str, str]] = None

    def add(self, kind: str, role: str = "guest") -> None:
        (self.host if role == "host" else self.guest).add(kind)
        self.first = self.first or (kind, role)


def virtual() -> Facts:
    found = _Found()
    _containers(found)
    _machines(found)
    modules = {line.split(" ", 1)[0] for line in lines("/proc/modules")}
    for module, kind, role in (("kvm", "kvm", "host"), ("vboxdrv", "virtualbox", "host")):
        if module in modules:
            found.add(kind, role)
    if "virtio" in modules:
        found.host.add("kvm")
        found.first = found.first or ("kvm", "guest")
    if os.path.exists("/dev/kvm"):
        found.add("kvm", "host")
    kind, role = found.first or ("NA", "NA")
    return {
        "virtualization_type": kind,
        "virtualization_role": role,
        "virtualization_tech_guest": _ordered(found.guest),
        "virtualization_tech_host": _ordered(found.host),
    }


def _ordered(names: Set[str]) -> List[str]:
    return sorted(names)


def _containers(found: _Found) -> None:
    for line in lines("/proc/1/cgroup"):
        for part, kind in _CGROUPS:
            if part in line:
                found.add(kind)
        _, there, scope = line.partition("/docker-")
        name, ends, _ = scope.partition(".scope")
        if there and ends and name and not name.strip("0123456789abcdef"):
            found.add("docker")
    for line in text("/proc/1/environ").split("\0"):
        if "container=lxc" in line:
            found.add("lxc")
        if "container=podman" in line:
            found.add("podman")
        if line.startswith("container=") and line != "container=":
            found.add("container")
    if os.path.exists("/proc/vz") and not os.path.exists("/proc/lve"):
        found.add("openvz", "host" if os.path.exists("/proc/bc") else "guest")
    named = content("/run/systemd/container")
    if named:
        found.add(named)
    if os.path.exists("/.dockerenv") or os.path.exists("/.dockerinit"):
        found.add("docker")
    if named or found.guest & _CONTAINERS:
        found.guest.add("container")


def _machines(found: _Found) -> None:
    if os.path.exists("/proc/xen"):
        found.add("xen", "host" if "control_d" in text("/proc/xen/capabilities") else "guest")
    dmi = "/sys/devices/virtual/dmi/id/"
    product, vendor = content(dmi + "product_name") or "", content(dmi + "sys_vendor") or ""
    bios, family = content(dmi + "bios_vendor") or "", content(dmi + "product_family") or ""
    named = [_PRODUCTS.get(product), "VMware" if product.startswith("VMware") else None]
    if vendor == "Red Hat":
        named.append("RHV" if family == "RHV" else "RHEV" if product == "RHEV Hypervisor" else None)
    named += [_BIOSES.get(bios), _VENDORS.get(vendor)]
    for kind in named:
        if kind:
            found.add(kind)
    for line in lines("/proc/cpuinfo"):
        for start, part, kind in _PROCESSORS:
            if line.startswith(start) and part in line:
                found.add(kind, "LPAR" if kind == "PR/SM" else "guest")
