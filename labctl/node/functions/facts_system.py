"""What a node's system is: its names, user, clock, managers and security."""

from __future__ import annotations

import _socket as socket
import os
import pwd
import sys
import time

from labctl.node.functions.facts_text import Aside, content, entries, lines, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from labctl.node.functions.facts_text import Facts, Programs

_SECRET = ("passw", "secret", "token", "credential", "private", "api_key", "apikey", "vault")


class Names:
    """The machine's full name, looked up meanwhile: a dead name server would take seconds."""

    def __init__(self) -> None:
        self.found: Optional[str] = None
        self._looking = Aside(self._look)

    def _look(self) -> None:
        self.found = _fqdn()

    def fqdn(self, seconds: float = 1.0) -> str:
        self._looking.wait(seconds)
        return self.found or os.uname().nodename


def _fqdn() -> str:
    """socket.getfqdn(), without what `socket` imports."""
    name = socket.gethostname()
    try:
        # as bytes: a str would be encoded by `idna`, which imports `re`
        canonical, aliases, _ = socket.gethostbyaddr(os.fsencode(name))  # type: ignore[arg-type]
    except OSError:
        return name
    return next((one for one in [canonical, *aliases] if "." in one), canonical)


def platform(names: Names) -> Facts:
    uname = os.uname()
    fqdn = names.fqdn()
    bits = "64" if sys.maxsize > 1 << 32 else "32"
    facts: Facts = {
        "system": uname.sysname,
        "kernel": uname.release,
        "kernel_version": uname.version,
        "machine": uname.machine,
        "architecture": "i386" if uname.machine in ("i386", "i486", "i586", "i686") else uname.machine,
        "python_version": sys.version.split()[0],
        "fqdn": fqdn,
        "domain": fqdn.partition(".")[2],
        "nodename": uname.nodename,
        "hostname": uname.nodename.split(".")[0],
        "userspace_bits": bits,
        "boot_id": content("/proc/sys/kernel/random/boot_id"),
    }
    if facts["architecture"] in ("x86_64", "i386"):
        facts["userspace_architecture"] = "x86_64" if bits == "64" else "i386"
    machine_id = content("/var/lib/dbus/machine-id") or content("/etc/machine-id")
    if machine_id:
        facts["machine_id"] = machine_id.splitlines()[0]
    return facts


def python() -> Facts:
    version = sys.version_info
    return {
        "python": {
            "version": {
                "major": version[0],
                "minor": version[1],
                "micro": version[2],
                "releaselevel": version[3],
                "serial": version[4],
            },
            "version_info": list(version),
            "executable": sys.executable,
            "has_sslcontext": any(finder.find_spec("_ssl", None) for finder in sys.meta_path),
            "type": sys.implementation.name,
        }
    }


def user() -> Facts:
    entry = pwd.getpwuid(os.getuid())
    return {
        "user_id": entry.pw_name,
        "user_uid": entry.pw_uid,
        "user_gid": entry.pw_gid,
        "user_gecos": entry.pw_gecos,
        "user_dir": entry.pw_dir,
        "user_shell": entry.pw_shell,
        "real_user_id": os.getuid(),
        "effective_user_id": os.geteuid(),
        "real_group_id": os.getgid(),
        "effective_group_id": os.getegid(),
    }


def env(environment: Dict[str, str]) -> Facts:
    """The environment, but for what by its name holds a secret: facts are written down."""
    known = dict(os.environ, **environment)
    return {"env": {name: value for name, value in known.items() if not _is_secret(name)}}


def _is_secret(name: str) -> bool:
    small = name.lower()
    return any(part in small for part in _SECRET)


def date_time() -> Facts:
    now = time.time()
    local, universal = time.localtime(now), time.gmtime(now)
    micro = "%06d" % (now % 1 * 1e6)
    forms = (
        "year=%Y month=%m weekday=%A weekday_number=%w weeknumber=%W day=%d hour=%H minute=%M second=%S date=%Y-%m-%d"
        " time=%H:%M:%S iso8601_basic=%Y%m%dT%H%M%S iso8601_basic_short=%Y%m%dT%H%M%S"
    )
    known = {
        name: time.strftime(form, local) for name, _, form in (one.partition("=") for one in forms.split())
    }
    known["iso8601_basic"] += micro
    return {
        "date_time": {
            **known,
            "epoch": str(int(now)),
            "epoch_int": str(int(now)),
            "iso8601_micro": time.strftime("%Y-%m-%dT%H:%M:%S.", universal) + micro + "Z",
            "iso8601": time.strftime("%Y-%m-%dT%H:%M:%SZ", universal),
            "tz": time.strftime("%Z"),
            "tz_dst": time.tzname[1],
            "tz_offset": time.strftime("%z"),
        }
    }


def cmdline() -> Facts:
    simple: Dict[str, Any] = {}
    every: Dict[str, Any] = {}
    words = _words(text("/proc/cmdline"))
    for word in words:
        key, equals, value = word.partition("=")
        new: Any = value if equals else True
        simple[key] = new
        if equals and key in every:
            every[key] = [*(every[key] if isinstance(every[key], list) else [every[key]]), new]
        else:
            every[key] = new
    return {"cmdline": simple, "proc_cmdline": every} if words else {}


def _words(line: str) -> List[str]:
    if '"' not in line and "'" not in line:
        return line.split()
    import shlex

    try:
        return shlex.split(line, posix=False)
    except ValueError:
        return []


def dns() -> Facts:
    found: Facts = {}
    for line in lines("/etc/resolv.conf"):
        words = line.split()
        if not words or line[0] in "#;":
            continue
        key, rest = words[0], words[1:]
        if key == "nameserver":
            found.setdefault("nameservers", []).extend(rest)
        elif key == "domain" and rest:
            found["domain"] = rest[0]
        elif key in ("search", "sortlist"):
            found[key] = rest
        elif key == "options":
            pairs = [option.partition(":") for option in rest]
            found["options"] = {name: value or True for name, _, value in pairs}
    return {"dns": found}


def caps(programs: Programs) -> Facts:
    said = programs.said("capsh")
    if not said or said[0]:
        return {"system_capabilities": "N/A", "system_capabilities_enforced": "N/A"}
    current = next((line for line in said[1].splitlines() if line.startswith("Current:")), "Current: =ep")
    if current.split(":", 1)[1].strip() == "=ep":
        return {"system_capabilities": [], "system_capabilities_enforced": "False"}
    held = [one.strip() for one in current.split("=")[1].split(",")] if "=" in current else []
    return {"system_capabilities": held, "system_capabilities_enforced": "True"}


def selinux() -> Facts:
    if not _has_library("libselinux.so.1"):
        return {"selinux": {"status": "Missing selinux Python library"}, "selinux_python_present": False}
    found: Facts = {"status": "disabled"}
    mode = content("/sys/fs/selinux/enforce")
    if mode is not None:
        said = dict(line.split("=", 1) for line in lines("/etc/selinux/config") if _assigns(line))
        policy = content("/sys/fs/selinux/policyvers")
        found = {
            "status": "enabled",
            "policyvers": int(policy) if policy else "unknown",
            "config_mode": said.get("SELINUX", "unknown"),
            "mode": "enforcing" if mode == "1" else "permissive",
            "type": said.get("SELINUXTYPE", "unknown"),
        }
    return {"selinux": found, "selinux_python_present": True}


def _has_library(name: str) -> bool:
    folders = ["/" + entry for entry in entries("/") if entry.startswith("lib")]
    return any(
        os.access("%s/%s" % (place, name), os.F_OK)
        for folder in folders
        for place in (folder, *("%s/%s" % (folder, entry) for entry in entries(folder)))
    )


def _assigns(line: str) -> bool:
    name, equals, _ = line.partition("=")
    return bool(equals) and name.replace("_", "a").isalnum()


def apparmor() -> Facts:
    there = os.path.exists("/sys/kernel/security/apparmor")
    return {"apparmor": {"status": "enabled" if there else "disabled"}}


def fips() -> Facts:
    return {"fips": content("/proc/sys/crypto/fips_enabled") == "1"}


def loadavg() -> Facts:
    one, five, fifteen = os.getloadavg()
    return {"loadavg": {"1m": one, "5m": five, "15m": fifteen}}


def chroot() -> Facts:
    if os.environ.get("debian_chroot"):  # noqa: SIM112 - Debian writes it so
        return {"is_chroot": True}
    mine = os.stat("/")
    try:
        init = os.stat("/proc/1/root/.")
    except OSError:
        return {"is_chroot": mine.st_ino not in (2, 128, 256)}  # the roots of ext, xfs, btrfs
    return {"is_chroot": (mine.st_ino, mine.st_dev) != (init.st_ino, init.st_dev)}


def ssh_pub_keys() -> Facts:
    facts: Facts = {}
    for folder in ("/etc/ssh", "/etc/openssh", "/etc"):
        for kind in ("dsa", "rsa", "ecdsa", "ed25519"):
            words = text("%s/ssh_host_%s_key.pub" % (folder, kind)).split()
            if len(words) >= 2:
                facts["ssh_host_key_%s_public" % kind] = words[1]
                facts["ssh_host_key_%s_public_keytype" % kind] = words[0]
        if facts:
            break
    return facts


def storage_names() -> Dict[str, Facts]:
    """The names this node has in storage networks, each by the name of its subset."""

    def first(path: str, start: str) -> str:
        return next((line for line in lines(path) if line.startswith(start)), "")

    ports: List[str] = [
        text("/sys/class/fc_host/%s/port_name" % host) for host in entries("/sys/class/fc_host")
    ]
    return {
        "iscsi": {"iscsi_iqn": first("/etc/iscsi/initiatorname.iscsi", "InitiatorName=").partition("=")[2]},
        "nvme": {"hostnqn": first("/etc/nvme/hostnqn", "nqn.")},
        "fibre_channel_wwn": {"fibre_channel_wwn": [port[2:] for port in ports if port]},
    }
