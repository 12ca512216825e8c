"""Facts of a machine as one JSON object, under Ansible's names where Ansible has one.

    facts.py [--subset min,hardware,network,runtime]

Read from /proc, /sys and netlink; other programs are started only for the versions of containerd, runc
and CRIU, all at once. What could not be learnt is null, and `facts_missing` says why.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import select
import signal
import socket
import struct
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MISSING: dict[str, str] = {}
PROGRAMS = ("containerd", "runc", "criu")
PLACES = ("/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/")
FAMILIES = {
    "Debian": "debian ubuntu linuxmint kali raspbian devuan pop",
    "RedHat": "rhel centos fedora rocky almalinux ol amzn scientific",
    "Suse": "sles opensuse opensuse-leap opensuse-tumbleweed",
    "Archlinux": "arch manjaro",
    "Alpine": "alpine",
    "Gentoo": "gentoo",
}
PACKAGE_MANAGERS = {
    "apt-get": "apt",
    "dnf": "dnf",
    "yum": "yum",
    "zypper": "zypper",
    "pacman": "pacman",
    "apk": "apk",
}
PRODUCTS = (("kvm", "kvm"), ("qemu", "kvm"), ("vmware", "VMware"), ("virtualbox", "virtualbox"))
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "fuse", "ceph", "glusterfs", "9p")


def text(path: str, default: str = "") -> str:
    try:
        with open(path, errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return default


def minimal() -> dict[str, Any]:
    uname = os.uname()
    release = os_release()
    identifier = release.get("ID", "linux")
    likes = [identifier, *release.get("ID_LIKE", "").split()]
    family = next((f for like in likes for f, ids in FAMILIES.items() if like in ids.split()), None)
    name = {"rhel": "RedHat", "opensuse-leap": "openSUSE Leap", "arch": "Archlinux"}.get(identifier)
    name = name or (release.get("NAME", identifier).split() or [identifier])[0]
    version = release.get("VERSION_ID", "")
    if identifier == "debian":  # os-release names only the major version there
        exact = text("/etc/debian_version")
        version = exact if re.match(r"\d+(\.\d+)*$", exact) else version
    user = pwd.getpwuid(os.getuid())
    return {
        "kernel": uname.release,
        "kernel_version": uname.version,
        "system": uname.sysname,
        "architecture": uname.machine,
        "nodename": uname.nodename,
        "hostname": uname.nodename.split(".")[0],
        "fqdn": fqdn(uname.nodename),
        "distribution": name,
        "distribution_version": version or None,
        "distribution_major_version": version.split(".")[0] or None,
        "distribution_release": release.get("VERSION_CODENAME") or None,
        "os_family": family or name,
        "python_version": ".".join(map(str, sys.version_info[:3])),
        "python": {
            "executable": sys.executable,
            "version": {"major": sys.version_info[0], "minor": sys.version_info[1]},
        },
        "service_mgr": os.path.basename(text("/proc/1/comm", "unknown")),
        "pkg_mgr": next((name for tool, name in PACKAGE_MANAGERS.items() if program(tool)), "unknown"),
        "date_time": date_time(),
        "env": {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SHELL") if name in os.environ},
        "user_id": user.pw_name,
        "user_uid": user.pw_uid,
        "user_gid": user.pw_gid,
        "user_dir": user.pw_dir,
        "user_shell": user.pw_shell,
        "uptime_seconds": int(float(text("/proc/uptime", "0").split()[0])),
        "machine_id": text("/etc/machine-id") or None,
        "boot_id": text("/proc/sys/kernel/random/boot_id") or None,
    }


def os_release() -> dict[str, str]:
    lines = (text("/etc/os-release") or text("/usr/lib/os-release")).splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line]
    return {key: value.strip("\"'") for key, value in pairs}


def fqdn(nodename: str) -> str:
    """From the hosts file only: asking a dead name server would take seconds."""
    for line in text("/etc/hosts").splitlines():
        names = line.split("#")[0].split()[1:]
        if nodename in names and "." in names[0]:
            return names[0]
    return nodename


def date_time() -> dict[str, str]:
    now = time.time()
    forms = "date=%Y-%m-%d time=%H:%M:%S year=%Y month=%m day=%d hour=%H minute=%M second=%S weekday=%A tz=%Z tz_offset=%z"
    known = [form.split("=") for form in forms.split()]
    values = {name: time.strftime(form, time.localtime(now)) for name, form in known}
    return {
        **values,
        "epoch": str(int(now)),
        "iso8601": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
    }


def program(name: str) -> str | None:
    return next((place + name for place in PLACES if os.access(place + name, os.X_OK)), None)


def hardware() -> dict[str, Any]:
    memory = {}
    for line in text("/proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        memory[key] = int(value.split()[0]) // 1024
    return {
        "memtotal_mb": memory.get("MemTotal"),
        "memfree_mb": memory.get("MemFree"),
        "memavailable_mb": memory.get("MemAvailable"),
        "swaptotal_mb": memory.get("SwapTotal"),
        "swapfree_mb": memory.get("SwapFree"),
        "mounts": mounts(),
        "devices": devices(),
        **processors(),
        **virtualization(),
    }


def processors() -> dict[str, Any]:
    """Sockets, cores per socket, threads per core: /proc/cpuinfo where it tells (x86), else one of each CPU."""
    listed: list[str] = []
    cores = set()
    vcpus = 0
    for block in text("/proc/cpuinfo").split("\n\n"):
        fields = dict(
            [part.strip() for part in line.split(":", 1)] for line in block.splitlines() if ":" in line
        )
        if "processor" not in fields:
            continue
        number = fields["processor"]
        vcpus += 1
        listed += [number, fields.get("vendor_id", ""), fields.get("model name", "")]
        cores.add((fields.get("physical id", number), fields.get("core id", number)))
    sockets = len({socket for socket, _ in cores}) or 1
    return {
        "processor": listed,
        "processor_count": sockets,
        "processor_cores": max(1, len(cores) // sockets),
        "processor_threads_per_core": max(1, vcpus // max(1, len(cores))),
        "processor_vcpus": vcpus,
        "processor_nproc": len(os.sched_getaffinity(0)),
    }


def mounts() -> list[dict[str, Any]]:
    """File systems with a device. Those of the network are asked in threads: a dead server would hang."""
    found, threads = [], []
    for line in text("/proc/self/mounts").splitlines():
        device, where, kind, options = [unescape(field) for field in line.split()[:4]]
        remote = kind.startswith(NETWORK_FILE_SYSTEMS)
        if not (device.startswith("/") or remote or kind == "overlay"):
            continue
        mount = {"device": device, "mount": where, "fstype": kind, "options": options}
        mount.update(size_total=None, size_available=None)
        found.append(mount)
        if remote:
            threads.append(threading.Thread(target=measure, args=(mount,), daemon=True))
            threads[-1].start()
        else:
            measure(mount)
    deadline = time.monotonic() + 0.5
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for mount in found:
        if mount["size_total"] is None:
            MISSING["mounts " + mount["mount"]] = mount.pop("error", "no answer within 0.5 seconds")
    return found


def measure(mount: dict[str, Any]) -> None:
    try:
        size = os.statvfs(mount["mount"])
    except OSError as error:
        mount["error"] = error.strerror
        return
    mount.update(block_size=size.f_frsize, block_total=size.f_blocks, block_available=size.f_bavail)
    mount.update(inode_total=size.f_files, inode_available=size.f_favail)
    mount["size_available"] = size.f_frsize * size.f_bavail
    mount["size_total"] = size.f_frsize * size.f_blocks


def unescape(field: str) -> str:
    return re.sub(r"\\(\d{3})", lambda octal: chr(int(octal.group(1), 8)), field)


def devices() -> dict[str, Any]:
    found = {}
    for name in sorted(os.listdir("/sys/block")) if os.path.isdir("/sys/block") else ():
        base = "/sys/block/" + name
        sectors = int(text(base + "/size", "0") or 0)
        if name.startswith(("loop", "ram")) and not sectors:
            continue
        found[name] = {
            "sectors": sectors,
            "sectorsize": int(text(base + "/queue/logical_block_size", "512") or 512),
            "size_bytes": sectors * 512,
            "rotational": text(base + "/queue/rotational"),
            "removable": text(base + "/removable"),
            "model": text(base + "/device/model") or None,
            "vendor": text(base + "/device/vendor") or None,
            "partitions": sorted(entry for entry in os.listdir(base) if entry.startswith(name)),
        }
    return found


def virtualization() -> dict[str, str]:
    container = re.search(r"container=(\w+)", text("/proc/1/environ").replace("\0", "\n"))
    if container:
        return {"virtualization_type": container.group(1), "virtualization_role": "guest"}
    for path, kind in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if os.path.exists(path):
            return {"virtualization_type": kind, "virtualization_role": "guest"}
    product = (text("/sys/class/dmi/id/product_name") + text("/sys/class/dmi/id/sys_vendor")).lower()
    kind = next((kind for word, kind in PRODUCTS if word in product), "")
    if kind or " hypervisor" in text("/proc/cpuinfo"):
        return {"virtualization_type": kind or "kvm", "virtualization_role": "guest"}
    return {"virtualization_type": "NA", "virtualization_role": "NA"}


def network() -> dict[str, Any]:
    addresses = netlink_addresses()
    facts: dict[str, Any] = {"interfaces": [name for _, name in socket.if_nameindex()]}
    for name in facts["interfaces"]:
        base = "/sys/class/net/%s/" % name
        facts[name.replace("-", "_")] = {
            "device": name,
            "active": text(base + "operstate") in ("up", "unknown"),
            "macaddress": text(base + "address") or None,
            "mtu": int(text(base + "mtu", "0") or 0),
            "ipv4": [entry for entry in addresses if entry["device"] == name and entry["family"] == 4],
            "ipv6": [entry for entry in addresses if entry["device"] == name and entry["family"] == 6],
        }
    shown = [entry for entry in addresses if not entry["address"].startswith(("127.", "::1"))]
    facts["all_ipv4_addresses"] = [entry["address"] for entry in shown if entry["family"] == 4]
    facts["all_ipv6_addresses"] = [entry["address"] for entry in shown if entry["family"] == 6]
    facts["default_ipv4"] = default_ipv4(facts)
    return facts


def netlink_addresses() -> list[dict[str, Any]]:
    """Every address of every interface: RTM_GETADDR, as `ip addr` asks it."""
    names = dict(socket.if_nameindex())
    found: list[dict[str, Any]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(0.5)
        request = struct.pack("=IHHII", 24, 22, 0x301, 1, 0) + struct.pack("=BBBBI", 0, 0, 0, 0, 0)
        kernel.send(request)
        while True:
            data = kernel.recv(65536)
            at = 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind in (2, 3):  # error, end of the dump
                    return found
                entry = netlink_address(data[at + 16 : at + length], names)
                found += [entry] if entry else []
                at += (length + 3) & ~3


def netlink_address(message: bytes, names: dict[int, str]) -> dict[str, Any] | None:
    family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", message)
    attributes, at = {}, 8
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        attributes[kind] = message[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    raw = attributes.get(2) or attributes.get(1)  # IFA_LOCAL, IFA_ADDRESS
    if raw is None or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    entry = {"device": names.get(index, str(index)), "address": socket.inet_ntop(family, raw)}
    entry.update(prefix=str(prefix), family=4 if family == socket.AF_INET else 6)
    if family == socket.AF_INET:
        mask = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
        entry["netmask"] = socket.inet_ntoa(struct.pack("!I", mask))
        entry["network"] = socket.inet_ntoa(struct.pack("!I", struct.unpack("!I", raw)[0] & mask))
    return entry


def default_ipv4(facts: dict[str, Any]) -> dict[str, Any]:
    """The route to 0.0.0.0/0 with the smallest metric, and the first address of its interface."""
    best = None
    for line in text("/proc/net/route").splitlines()[1:]:
        fields = line.split()
        if fields[1] == "00000000" and fields[7] == "00000000" and not int(fields[3], 16) & 0x200:
            route = (int(fields[6]), fields[0], fields[2])
            best = min(best, route) if best else route
    if best is None:
        return {}
    name = best[1]
    link = facts.get(name.replace("-", "_"), {})
    address = (link.get("ipv4") or [{}])[0]
    return {
        "interface": name,
        "gateway": socket.inet_ntoa(struct.pack("<I", int(best[2], 16))),
        "address": address.get("address"),
        "netmask": address.get("netmask"),
        "network": address.get("network"),
        "prefix": address.get("prefix"),
        "macaddress": link.get("macaddress"),
        "mtu": link.get("mtu"),
    }


def runtime() -> dict[str, Any]:
    facts: dict[str, Any] = {"cgroup": cgroups()}
    facts.update({name + "_version": None for name in PROGRAMS})
    known = text("/proc/filesystems").split()
    facts["nfs"] = {
        "kernel_client": "nfs" in known or module("nfs"),
        "kernel_server": "nfsd" in known or module("nfsd"),
    }
    source = text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    facts["clock"] = {"source": source or None, "wall": time.time(), "monotonic": time.monotonic()}
    return facts


def cgroups() -> dict[str, Any]:
    """The version in use: 2 when the unified hierarchy has the controllers, 1, or "hybrid" for both."""
    controllers: list[str] = []
    unified = None
    for line in text("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, where = right.split()[0], left.split()[4]
        if kind == "cgroup2" and unified is None:
            unified = where
        elif kind == "cgroup":
            options = right.split()[2].split(",")
            controllers += [name for name in os.path.basename(where).split(",") if name in options]
    path = os.path.dirname(unified) if unified and controllers else unified
    version: Any = None
    if unified:
        controllers += text(unified + "/cgroup.controllers").split()
        version = 2 if path == unified else "hybrid"
    elif controllers:
        version, path = 1, "/sys/fs/cgroup"
    else:
        MISSING["cgroup"] = "no cgroup file system is mounted"
    return {"version": version, "controllers": sorted(set(controllers)), "path": path}


def module(name: str) -> bool:
    folder = "/lib/modules/%s/" % os.uname().release
    return any("/%s.ko" % name in text(folder + listing) for listing in ("modules.builtin", "modules.dep"))


def ask_versions() -> dict[int, tuple[str, int]]:
    """Start the programs whose versions are facts: {where their answer comes: (name, process id)}."""
    running = {}
    for name in PROGRAMS:
        path = program(name)
        if path is None:
            MISSING[name + "_version"] = "not installed"
            continue
        out, inside = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, inside, 1), (os.POSIX_SPAWN_DUP2, inside, 2)]
        pid = os.posix_spawn(path, [path, "--version"], os.environ, file_actions=actions)
        os.close(inside)
        running[out] = (name, pid)
    return running


def versions(running: dict[int, tuple[str, int]]) -> dict[str, str]:
    """What each program says of itself, given one second altogether."""
    said = dict.fromkeys(running, b"")
    deadline = time.monotonic() + 1.0
    waiting = set(running)
    while waiting and time.monotonic() < deadline:
        for out in select.select(waiting, [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(out, 65536)
            said[out] += piece
            if not piece:
                waiting.discard(out)
    found = {}
    for out, (name, pid) in running.items():
        if out in waiting:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        number = re.search(rb"\d+\.\d+[^\s,]*", said[out])
        if number:
            found[name + "_version"] = number.group().decode("ascii", "replace")
        else:
            why = "no answer within 1 second" if out in waiting else "no version in: %r" % said[out][:80]
            MISSING[name + "_version"] = why
    return found


GATHERERS = {"min": minimal, "hardware": hardware, "network": network, "runtime": runtime}


def main(argv: list[str]) -> int:
    subsets = list(GATHERERS)
    if argv[:1] == ["--subset"] and len(argv) == 2:
        subsets = argv[1].split(",")
    elif argv:
        subsets = [" ".join(argv)]
    for subset in subsets:
        if subset not in GATHERERS:
            sys.stderr.write("facts.py: no subset %r; there are %s\n" % (subset, ", ".join(GATHERERS)))
            return 2
    facts: dict[str, Any] = {}
    running = ask_versions() if "runtime" in subsets else {}  # they answer while the rest is read
    for subset in subsets:
        try:
            facts.update(GATHERERS[subset]())
        except (OSError, ValueError, IndexError, KeyError) as error:  # an odd machine still has other facts
            MISSING[subset] = "%s: %s" % (type(error).__name__, error)
    facts.update(versions(running))
    facts["facts_missing"] = MISSING
    sys.stdout.write(json.dumps(facts, sort_keys=True) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # not waiting for a thread that asks a dead file server
