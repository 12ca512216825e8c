"""What the `stat` task returns of a file."""

from __future__ import annotations

import os
import shutil
import stat as st
import subprocess
from typing import Any, Dict, Optional

from labctl.node.functions import files, files_flags

Found = Dict[str, Any]


def plain(path: str, info: os.stat_result) -> Found:
    """What the kernel itself tells of a file, under Ansible's names."""
    mode = info.st_mode
    found: Found = {
        "path": path,
        "mode": "%04o" % st.S_IMODE(mode),
        "isreg": st.S_ISREG(mode),
        "isdir": st.S_ISDIR(mode),
        "islnk": st.S_ISLNK(mode),
        "isfifo": st.S_ISFIFO(mode),
        "issock": st.S_ISSOCK(mode),
        "isblk": st.S_ISBLK(mode),
        "ischr": st.S_ISCHR(mode),
        "isuid": bool(mode & st.S_ISUID),
        "isgid": bool(mode & st.S_ISGID),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "size": info.st_size,
        "inode": info.st_ino,
        "dev": info.st_dev,
        "nlink": info.st_nlink,
        "atime": info.st_atime,
        "mtime": info.st_mtime,
        "ctime": info.st_ctime,
    }
    for shift, who in ((6, "usr"), (3, "grp"), (0, "oth")):
        for bit, what in ((4, "r"), (2, "w"), (1, "x")):
            found[what + who] = bool(mode & (bit << shift))
    return found


def stat(
    path: str,
    follow: bool = False,
    algorithm: Optional[str] = "sha1",
    mime: bool = False,
    flags: bool = False,
) -> Found:
    """What the `stat` task returns of a file; `algorithm` None: without a checksum. `mime` asks file(1)."""
    path = os.path.expandvars(os.path.expanduser(path))
    try:
        info = os.stat(path) if follow else os.lstat(path)
    except FileNotFoundError:
        return {"exists": False}
    found: Found = {
        "exists": True,
        **plain(path, info),
        "block_size": info.st_blksize,
        "blocks": info.st_blocks,
        "device_type": info.st_rdev,
        "readable": os.access(path, os.R_OK),
        "writeable": os.access(path, os.W_OK),
        "executable": os.access(path, os.X_OK),
    }
    for key, name, number in (
        ("pw_name", files.owner_of, info.st_uid),
        ("gr_name", files.group_of, info.st_gid),
    ):
        if name(number) != str(number):
            found[key] = name(number)
    if st.S_ISLNK(info.st_mode):
        found["lnk_target"] = os.readlink(path)
        found["lnk_source"] = os.path.realpath(path)
    if algorithm and st.S_ISREG(info.st_mode) and found["readable"]:
        found["checksum"] = files.checksum(path, algorithm)
    if mime:
        found["mimetype"], found["charset"] = _mime(path)
    if flags:
        letters = files_flags.letters(path)
        found["version"] = None if letters is None else files_flags.version(path)
        found["attr_flags"] = letters or ""
        found["attributes"] = files_flags.names(letters or "")
    return found


def _mime(path: str) -> tuple[str, str]:
    program = shutil.which("file")
    if program:
        said = subprocess.run(
            [program, "--mime-type", "--mime-encoding", "--", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        ).stdout.decode(errors="replace")
        kind, found, charset = said.rpartition(":")[2].partition("; charset=")
        if found:
            return kind.strip(), charset.strip()
    return "unknown", "unknown"
