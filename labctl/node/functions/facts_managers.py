"""Which programs manage a node's packages and services."""

from __future__ import annotations

import os

from labctl.node.functions.facts_text import digits, program, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Optional

    from labctl.node.functions.facts_text import Facts, Programs

_INIT = {"procd": "openwrt_init", "runit-init": "runit", "svscan": "svc", "openrc-init": "openrc"}
_MANAGERS = (
    ("/usr/bin/rpm-ostree", "atomic_container"),
    ("/usr/bin/yum", "dnf"),
    ("/usr/bin/dnf-3", "dnf"),
    ("/usr/bin/dnf5", "dnf5"),
    ("/usr/bin/apt-get", "apt"),
    ("/usr/bin/zypper", "zypper"),
    ("/usr/sbin/urpmi", "urpmi"),
    ("/usr/bin/pacman", "pacman"),
    ("/bin/opkg", "opkg"),
    ("/usr/pkg/bin/pkgin", "pkgin"),
    ("/usr/local/bin/brew", "homebrew"),
    ("/sbin/apk", "apk"),
    ("/usr/bin/emerge", "portage"),
    ("/usr/bin/xbps-install", "xbps"),
    ("/usr/bin/swupd", "swupd"),
    ("/usr/sbin/sorcery", "sorcery"),
)


def pkg_mgr(family: str) -> Facts:
    if family == "Debian":
        return {"pkg_mgr": "apt"}
    if family == "RedHat":
        for path in ("/usr/bin/dnf", "/usr/bin/microdnf"):
            if os.path.exists(path):
                return {"pkg_mgr": "dnf5" if os.path.realpath(path) == "/usr/bin/dnf5" else "dnf"}
        return {"pkg_mgr": "unknown"}
    there = [name for path, name in _MANAGERS if os.path.exists(path)]
    return {"pkg_mgr": there[-1] if there else "unknown"}


def systemd_runs() -> bool:
    return bool(program("systemctl")) and os.path.isdir("/run/systemd/system")


def service_mgr() -> Facts:
    init: Optional[str] = os.path.basename(text("/proc/1/comm")) or None
    if init is None and os.path.islink("/sbin/init"):
        init = os.path.basename(os.readlink("/sbin/init"))
    if (
        init and init != "init" and not init.endswith("sh")
    ):  # a shell is a container's; 'init' may be anything
        return {"service_mgr": _INIT.get(init, init)}
    offline = os.path.islink("/sbin/init") and os.path.basename(os.readlink("/sbin/init")) == "systemd"
    for found, name in (
        (systemd_runs(), "systemd"),
        (program("initctl") and os.path.exists("/etc/init"), "upstart"),
        (os.path.exists("/sbin/openrc"), "openrc"),
        (offline and program("systemctl"), "systemd"),
        (os.path.exists("/etc/init.d"), "sysvinit"),
        (os.path.exists("/etc/dinit.d"), "dinit"),
    ):
        if found:
            return {"service_mgr": name}
    return {"service_mgr": "service"}


def systemd(programs: Programs) -> Facts:
    said = programs.said("systemctl")
    told = said[1].split("\n") if said else []
    version = digits(told[0][len("systemd ") :]) if told and told[0].startswith("systemd ") else ""
    return {"systemd": {"version": int(version), "features": told[1]}} if version and told[1:] else {}
