"""Mounts of a node: what the kernel has mounted, and what /etc/fstab says."""

from __future__ import annotations

import os
import subprocess
from typing import Any

MARKER = ".labctl-volume"


def _unescape(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in text else text


def state(path: str, src: str | None = None, fstab: str = "/etc/fstab") -> dict[str, Any]:
    """{"mounted": {"source", "fstype", "options", "root"} of the topmost mount at `path` or None,
    "same": whether it shows `src` (a device, a tag, a directory; None when that cannot be told),
    "directory": whether the path is a directory, "fstab": the file's text or None}."""
    mounted = _topmost(os.path.realpath(path))
    text: str | None
    try:
        with open(fstab, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except FileNotFoundError:
        text = None
    return {
        "mounted": mounted,
        "same": _same(path, src, mounted) if mounted and src else None,
        "directory": os.path.isdir(path),
        "fstab": text,
    }


def _topmost(path: str) -> dict[str, str] | None:
    found = None
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            before, _, after = line.partition(" - ")
            fields, tail = before.split(" "), after.split()
            if _unescape(fields[4]) == path:
                found = {
                    "source": _unescape(tail[1]),
                    "fstype": tail[0],
                    "options": ",".join([fields[5], *tail[2:3]]),
                    "root": _unescape(fields[3]),
                }
    return found


def _same(path: str, src: str, mounted: dict[str, str]) -> bool:
    if src == mounted["source"]:
        return True
    for tag in ("UUID", "LABEL", "PARTUUID", "PARTLABEL"):
        if src.startswith(tag + "="):
            src = "/dev/disk/by-%s/%s" % (tag.lower(), src.split("=", 1)[1].strip('"'))
    if os.path.isdir(src):
        return os.path.samefile(src, path)
    if src.startswith("/dev/"):
        return os.path.realpath(src) == os.path.realpath(mounted["source"])
    # A network source is named, not looked up: 'server:/path' with or without a final slash.
    return src.rstrip("/") == mounted["source"].rstrip("/")


def volume(path: str) -> dict[str, Any]:
    """What a directory meant to be shared between nodes is: {"kind", "source", "fstype"}. `kind` is 'nfs',
    'shared-directory' (one directory of one machine, bound into each of its lab nodes), or the file
    system's type; None when there is no such directory."""
    if not os.path.isdir(path):
        return {"kind": None, "source": None, "fstype": None}
    place = os.path.realpath(path)
    mounted = _topmost(place)
    while mounted is None and place != "/":
        place = os.path.dirname(place)
        mounted = _topmost(place)
    fstype = mounted["fstype"] if mounted else "unknown"
    kind = "nfs" if fstype in ("nfs", "nfs4") or "nfs" in fstype else fstype
    if kind != "nfs" and os.path.exists(os.path.join(path, MARKER)):
        kind = "shared-directory"
    return {"kind": kind, "source": mounted["source"] if mounted else None, "fstype": fstype}


def nfs(path: str) -> dict[str, Any]:
    """What a node can do with NFS: {"client": bool, "server": bool} by its kernel, {"tools", "server_tools"} by
    its programs, the `volume` at `path`, the exports it has, and
    whether it is `serving` them."""
    with open("/proc/filesystems", encoding="ascii") as stream:
        known = {line.split()[-1] for line in stream if line.split()}
    return {
        "client": bool(known & {"nfs", "nfs4"}) or _module("nfs"),
        "server": "nfsd" in known or _module("nfsd"),
        "tools": _program("mount.nfs"),
        "server_tools": _program("exportfs"),
        "volume": volume(path),
        "exports": _exports(),
        "serving": serving(),
    }


def serving() -> bool:
    """Whether the kernel's NFS server runs for this network namespace. Its threads are the kernel's own, and
    not to be seen among the processes of a container."""
    try:
        with open("/proc/fs/nfsd/threads", encoding="ascii") as stream:
            return int(stream.read()) > 0
    except (OSError, ValueError):
        return False


def _module(name: str) -> bool:
    """Whether the kernel could load the module: a mount asks it to."""
    if not _program("modprobe"):
        return False
    done = subprocess.run(
        ["modprobe", "-n", "-q", name],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return done.returncode == 0


def _program(name: str) -> bool:
    return any(os.access(os.path.join(d, name), os.X_OK) for d in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"))


def _exports() -> list[str]:
    """The lines of the kernel's own table of exports."""
    try:
        with open("/var/lib/nfs/etab", encoding="utf-8", errors="replace") as stream:
            return stream.read().splitlines()
    except OSError:
        return []
