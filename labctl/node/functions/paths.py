"""A path of a node in the few words that task types about files add to what they return."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import Any, Dict

_KINDS = ((stat.S_ISLNK, "link"), (stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"))


def about(path: str) -> Dict[str, Any]:
    """{"uid", "gid", "owner", "group", "mode", "state": what it is, "size"}; {} when it is not there."""
    try:
        info = os.lstat(path)
    except OSError:
        return {}
    kind = next((name for is_kind, name in _KINDS if is_kind(info.st_mode)), "file")
    if kind == "file" and info.st_nlink > 1:
        kind = "hard"
    return {
        "uid": info.st_uid,
        "gid": info.st_gid,
        "owner": _name(pwd.getpwuid, info.st_uid),
        "group": _name(grp.getgrgid, info.st_gid),
        "mode": "%04o" % stat.S_IMODE(info.st_mode),
        "state": kind,
        "size": info.st_size,
    }


def _name(look: Any, number: int) -> str:
    try:
        return str(look(number)[0])
    except KeyError:
        return str(number)
