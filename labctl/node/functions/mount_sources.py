"""A node's mounts as its files and the program 'mount' tell them: what is mounted, and what fstab says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

from labctl.node.functions.facts_mounts import measure, unescape

if TYPE_CHECKING:
    from labctl.node.functions.facts_text import Facts

STATIC = ("/etc/fstab", "/etc/vfstab", "/etc/filesystems")
DYNAMIC = ("/etc/mtab", "/proc/mounts", "/etc/mnttab")
_SAID = re.compile(r"(?P<device>\S+) on (?P<mount>\S+) type (?P<fstype>\S+) \((?P<options>.+)\)$")


def collect(
    sources: Sequence[str],
    program: Optional[str],
    devices: Sequence[str],
    fstypes: Sequence[str],
    timeout: Optional[float],
) -> Dict[str, Any]:
    """{"mounts": one for each line of each source, "late": mount points that did not answer in `timeout` seconds}.

    A mount: mount, device, fstype, options, dump, passno, uuid, ansible_context and its sizes in bytes, blocks and
    inodes. `sources` are paths and 'mount'; of two that are the same file the first counts. `program`: what to
    ask where no dynamic source is there."""
    found: List[Facts] = []
    late: List[str] = []
    uuids: Optional[Dict[str, str]] = None
    for source, line, mount in _entries(sources, program, timeout):
        device, uuid = mount["device"], None
        if device.startswith("UUID="):
            uuid = device[5:]
            device = _said(["blkid", "--uuid", uuid], timeout).strip() or device
        if not _matches(device, devices) or not _matches(mount["fstype"], fstypes):
            continue
        thread = threading.Thread(target=measure, args=(mount,), daemon=True)  # a dead server would hang
        thread.start()
        thread.join(timeout)
        if thread.is_alive():
            late.append(mount["mount"])
        if uuid is None:
            uuids = _uuids(timeout) if uuids is None else uuids
            uuid = uuids.get(device)
        told = {key: value for key, value in list(mount.items()) if key != "error"}
        told.update(ansible_context={"source": source, "source_data": line}, uuid=uuid)
        found.append(told)
    return {"mounts": found, "late": late}


def _matches(value: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(value, pattern) for pattern in patterns)


def _entries(
    sources: Sequence[str], program: Optional[str], timeout: Optional[float]
) -> Iterator[Tuple[str, str, Facts]]:
    seen: Set[str] = set()
    fall_back = bool(program) and any(source in DYNAMIC for source in sources)
    for source in sources:
        real = source if source == "mount" else os.path.realpath(source)
        if real in seen:
            continue
        seen.add(real)
        entries = list(_told(program or source, timeout) if source == "mount" else _listed(source))
        fall_back = fall_back and not (entries and source in ("mount", *DYNAMIC))
        yield from ((source, line, mount) for line, mount in entries)
    if fall_back:
        yield from (("mount", line, mount) for line, mount in _told(program or "mount", timeout))


def _listed(path: str) -> Iterator[Tuple[str, Facts]]:
    """The entries of a file with fstab's columns; none where a line has others."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except OSError:
        return
    found: List[Tuple[str, Facts]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        fields = [unescape(field) for field in line.split()]
        if len(fields) < 4:
            return
        device, where, kind, options = fields[:4]
        mount: Facts = {"mount": where, "device": device, "fstype": kind, "options": options}
        try:
            numbers = [int(field) for field in fields[4:6]]
        except ValueError:
            return
        for name, number in zip(("dump", "passno"), numbers):  # noqa: B905
            mount[name] = number
        found.append((line, mount))
    yield from found


def _told(program: str, timeout: Optional[float]) -> Iterator[Tuple[str, Facts]]:
    if shutil.which(program) is None:
        raise FileNotFoundError(2, "there is no such program", program)
    for line in _said([program], timeout).splitlines():
        found = _SAID.match(line)
        if found:
            yield line, dict(found.groupdict())


def _said(argv: List[str], timeout: Optional[float]) -> str:
    """What a program prints; nothing where it is not there or fails."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=timeout,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def _uuids(timeout: Optional[float]) -> Dict[str, str]:
    """The UUID of each device's file system."""
    words = ["lsblk", "--list", "--noheadings", "--paths", "--output", "NAME,UUID", "--exclude", "2"]
    pairs = (line.split() for line in _said(words, timeout).splitlines())
    found = {pair[0]: pair[1] for pair in pairs if len(pair) == 2}
    folder = "/dev/disk/by-uuid"
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        found[os.path.realpath(os.path.join(folder, name))] = name
    return found
