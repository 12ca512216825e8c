"""Files of a node by name, age, size, content or mode."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat as st
import time
from typing import Any, Dict, List, Optional, Sequence

from labctl.node.functions import files, files_stat

Found = Dict[str, Any]


def find(paths: Sequence[str], **wanted: Any) -> Found:
    """{"files", "matched", "examined", "skipped_paths", "msg"}; `wanted` are the arguments of the `find` task as
    it passes them, ages in seconds and sizes in bytes (below zero: at most)."""
    chosen: List[Found] = []
    skipped: Dict[str, str] = {}
    wanted["now"] = time.time()
    examined, message = 0, "All paths examined"

    def problem(error: OSError) -> None:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOENT):
            raise error
        skipped[str(error.filename)] = str(error)

    for given in paths:
        top = os.path.expandvars(os.path.expanduser(given))
        if not os.path.isdir(top):
            skipped[top] = "'%s' is not a directory" % top
            message = "Not all paths examined, check warnings for details"
            continue
        for folder, folders, names in os.walk(top, onerror=problem, followlinks=wanted["follow"]):
            examined += len(names) + len(folders)
            for name in names + folders:
                path = os.path.normpath(os.path.join(folder, name))
                if (
                    wanted["depth"]
                    and path.count("/") - (top.rstrip("/") + "/").count("/") + 1 > wanted["depth"]
                ):
                    del folders[:]
                    continue
                found = _entry(path, name, wanted, skipped)
                if found:
                    chosen.append(found)
                if len(chosen) == wanted["limit"]:
                    message = "Limit of matches reached"
                    break
            if not wanted["recurse"] or len(chosen) == wanted["limit"]:
                break
    return {
        "files": chosen,
        "matched": len(chosen),
        "examined": examined,
        "skipped_paths": skipped,
        "msg": message,
    }


def _entry(path: str, name: str, wanted: Found, skipped: Dict[str, str]) -> Optional[Found]:
    if name.startswith(".") and not wanted["hidden"]:
        return None
    try:
        info = os.lstat(path)
    except OSError as error:
        skipped[path] = str(error)
        return None
    regular = st.S_ISREG(info.st_mode)
    kinds = {
        "any": True,
        "file": regular,
        "directory": st.S_ISDIR(info.st_mode),
        "link": st.S_ISLNK(info.st_mode),
    }
    if not (
        kinds[wanted["kind"]] and _named(name, wanted) and _aged(info, wanted) and _has_mode(info, wanted)
    ):
        return None
    if regular and not _sized(info, wanted["size"]):
        return None
    if wanted["kind"] == "file" and not _contains(path, wanted):
        return None
    described = describe(path, info)
    if regular and wanted["algorithm"]:
        described["checksum"] = files.checksum(path, wanted["algorithm"])
    return described


def _named(name: str, wanted: Found) -> bool:
    if wanted["use_regex"]:
        return any(re.match(p, name) for p in wanted["patterns"]) and not any(
            re.match(p, name) for p in wanted["excludes"]
        )
    return any(fnmatch.fnmatch(name, p) for p in wanted["patterns"]) and not any(
        fnmatch.fnmatch(name, p) for p in wanted["excludes"]
    )


def _aged(info: os.stat_result, wanted: Found) -> bool:
    age = wanted["age"]
    if age is None:
        return True
    actual = wanted["now"] - float(getattr(info, "st_" + wanted["stamp"]))
    return bool(actual >= abs(age) if age >= 0 else actual <= abs(age))


def _sized(info: os.stat_result, size: Optional[int]) -> bool:
    if size is None:
        return True
    return info.st_size >= abs(size) if size >= 0 else info.st_size <= abs(size)


def _has_mode(info: os.stat_result, wanted: Found) -> bool:
    if not wanted["mode"]:
        return True
    mode = files.resolve_mode(wanted["mode"], 0)
    actual = st.S_IMODE(info.st_mode)
    return actual == mode if wanted["exact"] else bool(actual & mode)


def _contains(path: str, wanted: Found) -> bool:
    if wanted["contains"] is None:
        return True
    pattern = re.compile(wanted["contains"])
    try:
        with open(path, encoding=wanted["encoding"]) as stream:
            if wanted["whole"]:
                return bool(pattern.search(stream.read()))
            return any(pattern.match(line) for line in stream)
    except (OSError, UnicodeDecodeError):
        return False


def describe(path: str, info: os.stat_result) -> Found:
    found = files_stat.plain(path, info)
    for key, name, number in (
        ("pw_name", files.owner_of, info.st_uid),
        ("gr_name", files.group_of, info.st_gid),
    ):
        found[key] = name(number) if name(number) != str(number) else ""
    return found
