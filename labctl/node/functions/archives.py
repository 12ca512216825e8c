"""Archives on a node: what they hold against what is there, and unpacking them with tar or unzip."""

from __future__ import annotations

import errno
import fnmatch
import os
import shutil
import stat as st
import subprocess
import time
import zipfile
import zlib
from typing import Any, Dict, List, Sequence

from labctl.node.functions import files

Found = Dict[str, Any]
# Ansible's handler for plain tar takes every compression that tar finds out itself.
_HANDLERS = (
    (b"\x1f\x8b", "TgzArchive", "-z"),
    (b"BZh", "TarArchive", "-j"),
    (b"\xfd7zXZ", "TarArchive", "-J"),
    (b"\x28\xb5\x2f\xfd", "TarArchive", "--use-compress-program=zstd"),
)


def kind_of(source: str) -> tuple[str, List[str]]:
    """The handler's name, as Ansible calls it, and tar's option for the compression."""
    with open(source, "rb") as stream:
        head = stream.read(8)
    if not head:
        raise OSError(errno.EINVAL, "Invalid archive, the file is 0 bytes", source)
    if zipfile.is_zipfile(source) and head[:2] == b"PK":
        return "ZipArchive", []
    for magic, handler, option in _HANDLERS:
        if head.startswith(magic):
            return handler, [option]
    return "TarArchive", []


def compare(source: str, dest: str, **wanted: Any) -> Found:
    """{"handler", "files": names in the archive, "different": names to unpack, "attributes": names whose mode
    or owner is wrong} or {"error"}. `wanted`: include, exclude, options, keep_newer, mode, owner, group."""
    if not os.path.isdir(dest):
        return {"error": "Destination '%s' is not a directory" % dest}
    if not os.path.isfile(source):
        return {"error": "Source '%s' does not exist" % source}
    try:
        handler, option = kind_of(source)
        if handler == "ZipArchive":
            names, different = _zip(source, dest, wanted)
        else:
            names, different = _tar(source, dest, option, wanted)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return {"error": "failed to read the archive '%s': %s" % (source, error)}
    wrong: List[str] = []
    if not different:
        wrong = attributes(source, dest, names=names, apply=False, **wanted)
    return {"handler": handler, "files": names, "different": different, "attributes": wrong}


def _chosen(name: str, wanted: Found) -> bool:
    if wanted["include"] and not any(fnmatch.fnmatch(name, p) for p in wanted["include"]):
        return False
    return not any(
        fnmatch.fnmatch(name, p) or fnmatch.fnmatch(name, p.rstrip("/") + "/*") for p in wanted["exclude"]
    )


def _inside(dest: str, name: str) -> str:
    """Where unzip puts an entry: it drops what would lead out of the directory."""
    return os.path.join(dest, *[part for part in name.split("/") if part not in ("", ".", "..")])


def _zip(source: str, dest: str, wanted: Found) -> tuple[List[str], List[str]]:
    names, different = [], []
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
        links = {_inside("", e.filename) for e in entries if st.S_ISLNK(e.external_attr >> 16)}
        for entry in entries:
            parts = _inside("", entry.filename).split("/")
            if any("/".join(parts[:count]) in links for count in range(1, len(parts))):
                # unzip would refuse it now, and write through the link once that is there
                raise ValueError("its entry '%s' goes through a link" % entry.filename)
            if not _chosen(entry.filename, wanted):
                continue
            names.append(entry.filename)
            path = _inside(dest, entry.filename)
            try:
                info = os.lstat(path)
            except OSError:
                different.append(entry.filename)
                continue
            if entry.filename.endswith("/") or st.S_ISLNK(entry.external_attr >> 16):
                continue
            then = time.mktime((*entry.date_time, 0, 0, -1))
            if wanted["keep_newer"] and info.st_mtime > then:
                continue
            mode = (entry.external_attr >> 16) & 0o777
            if (
                info.st_size != entry.file_size
                or _crc(path) != entry.CRC
                or (not wanted["keep_newer"] and abs(info.st_mtime - then) >= 2)
                or (mode and wanted["mode"] is None and st.S_IMODE(info.st_mode) & 0o777 != mode)
            ):
                different.append(entry.filename)
    return names, different


def _crc(path: str) -> int:
    value = 0
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            value = zlib.crc32(block, value)
    return value


def _tar(source: str, dest: str, option: List[str], wanted: Found) -> tuple[List[str], List[str]]:
    tar = _program("gtar", "tar")
    words = [*option, *(["--show-transformed-names"] if wanted["options"] else []), *wanted["options"]]
    words += ["--exclude=" + name for name in wanted["exclude"]]
    listing = _run([tar, "--list", "-C", dest, *words, "-f", source, *wanted["include"]])
    if listing.returncode:
        raise ValueError(listing.stderr.strip() or "tar cannot read it")
    names = [_unescaped(line) for line in listing.stdout.splitlines() if line]
    names = [name.lstrip("/") for name in names if name.strip("/")]
    owners = [
        *(["--owner=" + str(wanted["owner"])] if wanted["owner"] else []),
        *(["--group=" + str(wanted["group"])] if wanted["group"] else []),
    ]
    said = _run([tar, "--diff", "-C", dest, *words, *owners, "-f", source, *wanted["include"]])
    different = []
    for line in (said.stdout + said.stderr).splitlines():
        if line.startswith((tar + ": Removing", tar + ": : Warning")):  # the name that was stripped away
            continue
        name, colon, problem = line.partition(": ")
        problem = problem.strip()
        if not colon or _harmless(problem, wanted):
            continue
        different.append(line[5:] if line.startswith("tar: ") else name)
    if said.returncode and not (said.stdout or different or "Warning" in said.stderr):
        raise ValueError(said.stderr.strip())
    return names, different


def _harmless(problem: str, wanted: Found) -> bool:
    """Differences that unpacking again would not remove, or that are not wanted removed."""
    if problem.startswith(("Uid differs", "Gid differs")):
        return os.geteuid() != 0 or bool(wanted["owner" if problem[0] == "U" else "group"])
    if problem.startswith("Mode differs"):
        return wanted["mode"] is not None
    if problem.startswith(("Mod time differs", "Size differs", "Contents differ")) and wanted["keep_newer"]:
        return True
    return problem.startswith(("Removing leading", "Warning", "time stamp", "implausibly old"))


def _unescaped(name: str) -> str:
    if "\\" not in name:
        return name
    return (
        name.encode("latin-1", "backslashreplace")
        .decode("unicode_escape")
        .encode("latin-1")
        .decode(errors="replace")
    )


def unpack(source: str, dest: str, **wanted: Any) -> Found:
    """Unpack it: {"cmd", "rc", "out", "err"}; then the attributes are set."""
    handler, option = kind_of(source)
    if handler == "ZipArchive":
        argv = [
            _program("unzip"),
            "-o",
            *(["-u"] if wanted["keep_newer"] else []),
            *wanted["options"],
            source,
        ]
        argv += wanted["include"]
        argv += ["-x", *wanted["exclude"]] if wanted["exclude"] else []
        argv += ["-d", dest]
    else:
        argv = [_program("gtar", "tar"), "--extract", "-C", dest, *option]
        argv += ["--show-transformed-names", *wanted["options"]] if wanted["options"] else []
        argv += ["--keep-newer-files"] if wanted["keep_newer"] else []
        argv += ["--owner=" + str(wanted["owner"])] if wanted["owner"] else []
        argv += ["--group=" + str(wanted["group"])] if wanted["group"] else []
        argv += ["--exclude=" + name for name in wanted["exclude"]]
        argv += ["-f", source, *wanted["include"]]
    done = _run(argv)
    if done.returncode == 0:
        names = compare(source, dest, **wanted).get("files", [])
        attributes(source, dest, names=names, apply=True, **wanted)
    return {"cmd": argv, "rc": done.returncode, "out": done.stdout, "err": done.stderr}


def attributes(source: str, dest: str, names: Sequence[str], apply: bool = True, **wanted: Any) -> List[str]:
    """The unpacked files, and the top folders, whose mode or owner is not as wanted; `apply` mends them."""
    del source
    if wanted["mode"] is None and wanted["owner"] is None and wanted["group"] is None:
        return []
    tops = {name.split("/")[0] for name in names if "/" in name} - {"", ".."}
    wrong: List[str] = []
    top = os.path.realpath(dest)
    for name in [*names, *sorted(tops)]:
        path = os.path.normpath(os.path.join(dest, name))
        if os.path.lexists(path) and _is_below(path, top):
            wrong += files.attributes(
                path, wanted["mode"], wanted["owner"], wanted["group"], follow=False, apply=apply
            )
    return wrong


def _is_below(path: str, top: str) -> bool:
    """Whether a path, through all links but its last, is `top` or in it: an archive may name others."""
    folder, name = os.path.split(path)
    real = os.path.join(os.path.realpath(folder), name)
    return real == top or real.startswith(top.rstrip("/") + "/")


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise OSError(errno.ENOENT, "there is no '%s' on this node, which unpacks this archive" % names[-1])


def _run(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        errors="surrogateescape",
        env=dict(os.environ, LC_ALL="C", LANG="C"),
        check=False,
    )
