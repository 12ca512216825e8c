"""Copies within one node: files atomically, trees laid over others. Modes are as in `files`."""

import os
import shutil
import stat as st
import time
from typing import Any, Dict, Optional

from labctl.node.functions import files

Found = Dict[str, Any]


def same(source: str, destination: str) -> Found:
    """Two files or trees on the node: {"source", "destination", "same"}; `source` None when it is not there.
    A tree is the same when everything in the source is in the destination."""
    first, second = files.describe(source), files.describe(destination)
    if first is None or second is None or first["type"] != second["type"]:
        return {"source": first, "destination": second, "same": False}
    if first["type"] == "directory":
        names = [os.path.relpath(name, source) for name in files.tree(source)]
        equal = all(_same_file(os.path.join(source, n), os.path.join(destination, n)) for n in names)
    else:
        equal = _same_file(source, destination)
    return {"source": first, "destination": second, "same": equal}


def _same_file(first: str, second: str) -> bool:
    try:
        a, b = os.lstat(first), os.lstat(second)
    except FileNotFoundError:
        return False
    if st.S_IFMT(a.st_mode) != st.S_IFMT(b.st_mode):
        return False
    if st.S_ISLNK(a.st_mode):
        return os.readlink(first) == os.readlink(second)
    return not st.S_ISREG(a.st_mode) or (
        a.st_size == b.st_size and files.checksum(first) == files.checksum(second)
    )


def copy(source: str, destination: str, mode: Optional[str] = None, backup: bool = False) -> Optional[str]:
    """Copy a file (atomically) or lay a tree over another. Returns the backup's path."""
    if os.path.isdir(source):
        for name in files.tree(source):
            _copy_entry(name, os.path.normpath(os.path.join(destination, os.path.relpath(name, source))))
        return None
    kept = None
    if backup and os.path.exists(destination):
        kept = "%s.%s~" % (destination, stamp())
        shutil.copy2(destination, kept)
    _copy_file(source, destination, mode)
    return kept


def stamp() -> str:
    """What a backup's name ends with, so that no two are the same."""
    return "%d.%s" % (os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))


def _copy_entry(source: str, destination: str) -> None:
    if os.path.islink(source):
        if os.path.lexists(destination):
            os.unlink(destination)
        os.symlink(os.readlink(source), destination)
    elif os.path.isdir(source):
        os.makedirs(destination, exist_ok=True)
        shutil.copymode(source, destination)
    elif not os.path.exists(destination) or not _same_file(source, destination):
        _copy_file(source, destination, "%04o" % st.S_IMODE(os.stat(source).st_mode))


def _copy_file(source: str, destination: str, mode: Optional[str]) -> None:
    destination = os.path.realpath(destination)
    folder, name = os.path.split(destination)
    temporary = os.path.join(folder, ".%s.labctl-%d-%d" % (name[:200], os.getpid(), time.monotonic_ns()))
    old = files.describe(destination)
    current = old["mode"] if old else 0o666 & ~files.umask()
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as sink, open(source, "rb") as stream:
            if old:
                try:
                    os.fchown(sink.fileno(), old["uid"], old["gid"])
                except PermissionError:
                    pass
            os.fchmod(sink.fileno(), current if mode is None else files.resolve_mode(mode, current))
            shutil.copyfileobj(stream, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        os.rename(temporary, destination)
    except BaseException:
        os.unlink(temporary)
        raise
