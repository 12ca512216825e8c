"""A node's mounts with their sizes, as facts."""

from __future__ import annotations

import os
import time

from labctl.node.functions.facts_text import Aside, lines

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from labctl.node.functions.facts_text import Facts


def unescape(field: str) -> str:
    """A field of /proc/mounts, where a space is written '\\040'."""
    if "\\" not in field:
        return field
    import re

    return re.sub(r"\\(\d{3})", lambda octal: chr(int(octal.group(1), 8)), field)


def mounts(timeout: float, missing: Dict[str, str]) -> Facts:
    """File systems of a device, a path or a server. Each is measured in a thread: a dead server would hang."""
    bound = _bound()
    uuids = _uuids()
    found: List[Facts] = []
    threads = []
    for line in lines("/proc/self/mounts"):
        fields = [unescape(field) for field in line.split()]
        if len(fields) < 6:
            continue
        device, where, kind, options = fields[:4]
        if (not device.startswith(("/", "\\")) and ":/" not in device) or kind == "none":
            continue
        if where in bound and not {"bind", "rbind"} & set(options.split(",")):
            options += ",bind"
        mount: Facts = {"mount": where, "device": device, "fstype": kind, "options": options}
        mount.update(dump=int(fields[4]), passno=int(fields[5]))
        found = [one for one in found if one["mount"] != where]
        found.append(mount)
        threads.append((mount, Aside(measure, mount)))
    until = time.monotonic() + timeout
    for mount, thread in threads:
        thread.wait(until - time.monotonic())
        if "size_total" in mount:
            mount["uuid"] = uuids.get(os.path.basename(os.path.realpath(mount["device"])), "N/A")
            continue
        mount["note"] = "Could not get extra information due to timeout"
        missing["mounts " + mount["mount"]] = mount.pop("error", "no answer within %g seconds" % timeout)
    return {"mounts": [dict(mount) for mount in found]}


def measure(mount: Dict[str, Any]) -> None:
    """Add the sizes, in bytes, blocks and inodes; or `error`."""
    try:
        size = os.statvfs(mount["mount"])
    except OSError as error:
        mount["error"] = error.strerror
        return
    mount.update(
        size_total=size.f_frsize * size.f_blocks,
        size_available=size.f_frsize * size.f_bavail,
        block_size=size.f_bsize,
        block_total=size.f_blocks,
        block_available=size.f_bavail,
        block_used=size.f_blocks - size.f_bavail,
        inode_total=size.f_files,
        inode_available=size.f_favail,
        inode_used=size.f_files - size.f_favail,
    )


def _bound() -> List[str]:
    """Where a part of a file system is mounted, not its root."""
    entries = (line.split() for line in lines("/proc/self/mountinfo"))
    return [unescape(fields[4]) for fields in entries if len(fields) > 4 and fields[3] != "/"]


def _uuids() -> Dict[str, str]:
    folder = "/dev/disk/by-uuid"
    if not os.path.isdir(folder):
        return {}
    return {
        os.path.basename(os.path.realpath(os.path.join(folder, name))): name for name in os.listdir(folder)
    }
