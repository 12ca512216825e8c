"""Facts of a node under Ansible's names, by subset; other programs are started for the few that need them, at once.

What could not be learnt is left out or null, and `missing` says why. Nothing here waits for a dead name or file
server longer than a second.
"""

from __future__ import annotations

import os

from labctl.node.functions import facts_distribution as distribution
from labctl.node.functions import facts_hardware as hardware
from labctl.node.functions import facts_local as own
from labctl.node.functions import facts_lsb as base
from labctl.node.functions import facts_managers as managers
from labctl.node.functions import facts_mounts as mounted
from labctl.node.functions import facts_network as networks
from labctl.node.functions import facts_runtime as containers
from labctl.node.functions import facts_system as system
from labctl.node.functions import facts_virtual as virtual
from labctl.node.functions.facts_text import Programs

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List

    from labctl.node.functions.facts_text import Facts

_LVM = ["--noheadings", "--nosuffix", "--units", "g", "--separator", ","]


def gather(
    subsets: List[str], environment: Dict[str, str], fact_path: str = "", timeout: float = 10.0
) -> Dict[str, Any]:
    """{"facts": {name: value}, "missing": {name: why}, "warnings": [text]} of these subsets (names as in
    `gather_subset`, none of them a group)."""
    missing: Dict[str, str] = {}
    warnings: List[str] = []
    programs = Programs(min(timeout, 5.0))
    names = system.Names() if "platform" in subsets else None
    _start(programs, subsets)
    family = distribution.distribution()
    storage = system.storage_names()
    gatherers: Dict[str, Callable[[], Facts]] = {
        "platform": lambda: system.platform(names) if names else {},
        "distribution": lambda: family,
        "python": system.python,
        "user": system.user,
        "env": lambda: system.env(environment),
        "date_time": system.date_time,
        "pkg_mgr": lambda: managers.pkg_mgr(family["os_family"]),
        "service_mgr": managers.service_mgr,
        "cmdline": system.cmdline,
        "dns": system.dns,
        "selinux": system.selinux,
        "apparmor": system.apparmor,
        "fips": system.fips,
        "ssh_pub_keys": system.ssh_pub_keys,
        "local": lambda: own.local(fact_path, timeout, warnings) if fact_path else {"local": {}},
        "chroot": system.chroot,
        "loadavg": system.loadavg,
        "virtual": virtual.virtual,
        "hardware": lambda: _hardware(timeout, missing, programs),
        "network": lambda: networks.network(programs),
        "runtime": lambda: containers.runtime(programs, missing),
        "lsb": lambda: base.lsb(programs),
        "caps": lambda: system.caps(programs),
        "systemd": lambda: managers.systemd(programs),
        **{name: known.copy for name, known in storage.items()},
    }
    facts: Facts = {}
    try:
        for name in subsets:
            try:
                facts.update(gatherers[name]() if name in gatherers else {})
            except (
                OSError,
                ValueError,
                IndexError,
                KeyError,
            ) as error:  # an odd machine still has other facts
                missing[name] = "%s: %s" % (type(error).__name__, error)
    finally:
        programs.close()
    return {"facts": facts, "missing": missing, "warnings": warnings}


def _start(programs: Programs, subsets: List[str]) -> None:
    if "runtime" in subsets:
        containers.ask(programs)
    if "lsb" in subsets:
        base.ask(programs)
    if "caps" in subsets:
        programs.start("capsh", ["capsh", "--print"])
    if "systemd" in subsets and managers.systemd_runs():
        programs.start("systemctl", ["systemctl", "--version"])
    if "network" in subsets:
        networks.ask(programs)
    if "hardware" in subsets and os.getuid() == 0:
        for name in ("vgs", "lvs", "pvs"):
            programs.start(name, [name, *_LVM])


def _hardware(timeout: float, missing: Dict[str, str], programs: Programs) -> Facts:
    return {
        **hardware.processors(),
        **hardware.memory(),
        **hardware.board(),
        **hardware.devices(),
        **hardware.uptime(),
        **hardware.volumes(programs),
        **mounted.mounts(min(timeout, 1.0), missing),
    }
