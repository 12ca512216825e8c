"""Copies within one node: files atomically, trees laid over others. Modes are as in `files`."""

import errno
import os
import shlex
import shutil
import stat as st
import subprocess
import time
from typing import Any, Dict, List, Optional

from labctl.node.functions import files

Found = Dict[str, Any]


def look(source: str, destination: str, follow: bool = False) -> Found:
    """What a copy of `source` to `destination` meets.

    {"source", "destination": as `files.describe`, "path": where a file goes, "tree": where a directory's
    content goes, "folder": whether the directory of `path` is there, "same", "checksum", "md5sum"}."""
    first = files.describe(source)
    answer: Found = {"source": first, "destination": None, "same": False, "checksum": None, "md5sum": None}
    if first is None:
        return answer
    path = destination
    name = os.path.basename(source.rstrip("/"))
    if first["type"] == "directory":
        inside = os.path.isdir(destination)
        answer["path"] = os.path.join(destination, os.path.basename(source)) if inside else destination
        answer["tree"] = os.path.join(destination, "" if source.endswith("/") else name)
        answer["destination"] = files.describe(answer["path"])
        return answer
    if first["type"] != "file":
        raise OSError(errno.EINVAL, "not a file", source)
    if path.endswith("/") or os.path.isdir(path):
        path = os.path.join(path, name)
    if follow and os.path.islink(path):
        path = os.path.realpath(path)
    answer["path"] = path
    answer["folder"] = os.path.isdir(os.path.dirname(path) or ".")
    answer["checksum"], answer["md5sum"] = files.checksum(source), files.checksum(source, "md5")
    there = answer["destination"] = files.describe(path, follow=False)
    if there is not None and there["type"] == "file":
        answer["same"] = there["size"] == first["size"] and files.checksum(path) == answer["checksum"]
    return answer


def _same_file(first: str, second: str) -> bool:
    try:
        a, b = os.lstat(first), os.lstat(second)
    except OSError:
        return False
    if st.S_IFMT(a.st_mode) != st.S_IFMT(b.st_mode):
        return False
    if st.S_ISLNK(a.st_mode):
        return os.readlink(first) == os.readlink(second)
    return not st.S_ISREG(a.st_mode) or (
        a.st_size == b.st_size and files.checksum(first) == files.checksum(second)
    )


def copy(
    source: str,
    destination: str,
    mode: Optional[str] = None,
    backup: bool = False,
    validate: Optional[str] = None,
) -> Optional[str]:
    """Copy a file atomically; its mode is the source's where none is given. Returns the backup's path."""
    if validate:
        said = subprocess.run(
            [word.replace("%s", source) for word in shlex.split(validate)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if said.returncode:
            raise OSError(
                errno.EINVAL, "failed to validate: %s" % said.stdout.decode(errors="replace")[-2000:], source
            )
    kept = None
    if backup and os.path.exists(destination):
        kept = "%s.%s~" % (destination, stamp())
        shutil.copy2(destination, kept)
    _copy_file(source, destination, mode)
    return kept


def stamp() -> str:
    """What a backup's name ends with, so that no two are the same."""
    return "%d.%s" % (os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))


def tree(  # noqa: PLR0917
    source: str,
    destination: str,
    owner: Optional[str] = None,
    group: Optional[str] = None,
    follow: bool = False,
    apply: bool = False,
) -> List[str]:
    """Lay a tree over another: the paths that differ; with `apply` they are made the same. What is only in
    the destination stays. `follow`: links become what they point to."""
    changed: List[str] = []
    ids = files.numbers(owner, group)
    source, destination = source.rstrip("/") or "/", destination.rstrip("/") or "/"
    for folder, folders, names in os.walk(source, followlinks=follow):
        inside = os.path.relpath(folder, source)
        target = destination if inside == "." else os.path.join(destination, inside)
        if not os.path.isdir(target):
            changed.append(target)
            if apply:
                os.makedirs(target)
                shutil.copymode(folder, target)
        links = [] if follow else [n for n in folders if os.path.islink(os.path.join(folder, n))]
        for name in sorted(names + links):
            one, other = os.path.join(folder, name), os.path.join(target, name)
            if _lay(one, other, follow, apply):
                changed.append(other)
    if ids != (-1, -1) and os.path.isdir(destination):
        for name in files.tree(destination):
            info = os.lstat(name)
            if (ids[0] >= 0 and ids[0] != info.st_uid) or (ids[1] >= 0 and ids[1] != info.st_gid):
                changed.append(name)
                if apply:
                    os.chown(name, ids[0], ids[1], follow_symlinks=False)
    return changed


def _lay(source: str, destination: str, follow: bool, apply: bool) -> bool:
    link = os.path.islink(source) and not follow
    if link:
        same = os.path.islink(destination) and os.readlink(source) == os.readlink(destination)
    else:
        same = _same_file(os.path.realpath(source), destination)
    if same:
        return False
    if apply:
        if link:
            if os.path.lexists(destination):
                os.unlink(destination)
            os.symlink(os.readlink(source), destination)
        else:
            _copy_file(source, destination, "%04o" % st.S_IMODE(os.stat(source).st_mode))
    return True


def _copy_file(source: str, destination: str, mode: Optional[str]) -> None:
    """A link at the destination is replaced."""
    folder, name = os.path.split(destination)
    temporary = os.path.join(folder, ".%s.labctl-%d-%d" % (name[:200], os.getpid(), time.monotonic_ns()))
    old = files.describe(destination) if not os.path.islink(destination) else None
    info = os.stat(source)
    current = st.S_IMODE(info.st_mode) if old else 0o666 & ~files.umask()
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
        os.utime(temporary, (info.st_atime, info.st_mtime))
        os.rename(temporary, destination)
    except BaseException:
        os.unlink(temporary)
        raise
