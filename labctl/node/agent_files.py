"""The agent's half of the file primitives. Runs on the node: standard library only, Python 3.8 syntax.

Every function takes a request (a JSON object) and its body, and returns the reply's values and body.
They raise OSError with errno and filename set; the agent turns that into a NodeError.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat as st
import time

from labctl.node.agent_replace import Replacement, gid_of, problem, uid_of

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

    Reply = Tuple[Dict[str, Any], bytes]

_TYPES = {
    st.S_IFREG: "file",
    st.S_IFDIR: "directory",
    st.S_IFLNK: "link",
    st.S_IFIFO: "fifo",
    st.S_IFSOCK: "socket",
    st.S_IFBLK: "block",
    st.S_IFCHR: "char",
}


# ---------------------------------------------------------------- looking


class Names:
    """Names of user or group numbers, kept until the file they come from changes. A number without a name is
    looked up anew each time: a directory service may know it tomorrow."""

    def __init__(self, source: str, look_up: Callable[[int], str]) -> None:
        self._source = source
        self._look_up = look_up
        self._version: Tuple[int, int] = (0, 0)
        self._known: Dict[int, str] = {}

    def of(self, number: int) -> str:
        try:
            info = os.stat(self._source)
            version = (info.st_mtime_ns, info.st_ino)
        except OSError:
            version = (0, 0)
        if version != self._version:
            self._version, self._known = version, {}
        name = self._known.get(number)
        if name is None:
            try:
                name = self._known[number] = self._look_up(number)
            except KeyError:
                return str(number)
        return name


USERS = Names("/etc/passwd", lambda number: pwd.getpwuid(number).pw_name)
GROUPS = Names("/etc/group", lambda number: grp.getgrgid(number).gr_name)


def checksum_of(path: str) -> str:
    import hashlib

    digest = hashlib.sha1()
    with open(path, "rb", buffering=0) as stream:
        while True:
            block = stream.read(1 << 20)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def describe(path: str, info: os.stat_result) -> Dict[str, Any]:
    found = {
        "path": path,
        "type": _TYPES.get(st.S_IFMT(info.st_mode), "file"),
        "mode": st.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "owner": USERS.of(info.st_uid),
        "group": GROUPS.of(info.st_gid),
        "size": info.st_size,
        "mtime": info.st_mtime,
        "atime": info.st_atime,
        "inode": info.st_ino,
        "device": info.st_dev,
        "links": info.st_nlink,
    }
    if st.S_ISLNK(info.st_mode):
        try:
            found["target"] = os.readlink(path)
        except OSError:  # it changed under our eyes
            found["target"] = None
    return found


def stat(request: Dict[str, Any], body: bytes) -> Reply:
    path = request["path"]
    try:
        info = os.stat(path) if request.get("follow") else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"stat": None}, b""
    found = describe(path, info)
    if request.get("checksum") and st.S_ISREG(info.st_mode):
        found["checksum"] = checksum_of(path)
    return {"stat": found}, b""


def list_directory(request: Dict[str, Any], body: bytes) -> Reply:
    path, found = request["path"], []
    for name in sorted(os.listdir(path)):
        entry = os.path.join(path, name)
        try:
            found.append(describe(entry, os.lstat(entry)))
        except FileNotFoundError:  # removed since it was listed
            continue
    return {"entries": found}, b""


def read(request: Dict[str, Any], body: bytes) -> Reply:
    path, limit = request["path"], request.get("limit")
    with open(path, "rb", buffering=0) as stream:
        if limit is None:
            return {}, stream.read()
        pieces: List[bytes] = []
        room = limit + 1
        while room > 0:
            piece = stream.read(room)
            if not piece:
                return {}, b"".join(pieces)
            pieces.append(piece)
            room -= len(piece)
    raise problem(errno.EFBIG, path, "larger than %d bytes" % limit)


# ---------------------------------------------------------------- writing


def write(request: Dict[str, Any], body: bytes) -> Reply:
    replacement = Replacement(request)
    try:
        replacement.write(body)
        return {"backup": replacement.commit(bool(request.get("backup")))}, b""
    finally:
        replacement.abandon()


# ---------------------------------------------------------------- changing


def mount_points() -> Optional[List[str]]:
    """Every mount point this process sees, bind mounts included; None when the kernel does not say."""
    try:
        with open("/proc/self/mountinfo", "rb") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return None
    points = []
    for line in lines:
        text = os.fsdecode(line.split()[4])
        for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            text = text.replace(code, character)
        points.append(text)
    return points


def remove(request: Dict[str, Any], body: bytes) -> Reply:
    path = request["path"].rstrip("/") or "/"
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"removed": False}, b""
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    points = mount_points()
    for point in points or ():
        if point == real or point.startswith(real.rstrip("/") + "/"):
            raise problem(errno.EBUSY, path, "not removed: '%s' is a mount point" % point)
    if real == "/":
        raise problem(errno.EBUSY, path)
    if st.S_ISDIR(info.st_mode):
        _remove_tree(path, None, None if points is not None else info.st_dev)
    else:
        os.unlink(path)
    return {"removed": True}, b""


def _remove_tree(name: str, parent: Optional[int], device: Optional[int]) -> None:
    # through directory descriptors: a directory swapped for a link is not followed
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        if device is not None and os.fstat(fd).st_dev != device:
            raise problem(errno.EXDEV, name)
        with os.scandir(fd) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                _remove_tree(entry.name, fd, device)
            else:
                try:
                    os.unlink(entry.name, dir_fd=fd)
                except FileNotFoundError:
                    continue
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def mkdir(request: Dict[str, Any], body: bytes) -> Reply:
    path, mode = request["path"].rstrip("/") or "/", request.get("mode")
    if os.path.isdir(path):
        return {"made": False}, b""
    if request.get("parents", True):
        for parent in _missing_parents(path):
            try:
                os.mkdir(parent)
            except FileExistsError:
                continue
    try:
        os.mkdir(path, 0o777 if mode is None else mode & 0o700)
    except FileExistsError:
        if os.path.isdir(path):
            return {"made": False}, b""
        raise
    if mode is not None:
        os.chmod(path, mode)
    return {"made": True}, b""


def _missing_parents(path: str) -> Iterator[str]:
    missing = []
    parent = os.path.dirname(path)
    while parent and not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    return reversed(missing)


def link(request: Dict[str, Any], body: bytes) -> Reply:
    target, path = request["target"], request["path"]
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".%s.labctl-%d-%d" % (name[:200], os.getpid(), time.monotonic_ns()))
    if request.get("hard"):
        os.link(target, temporary)
    else:
        os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except OSError as error:
        raise problem(error.errno or errno.EIO, path, error.strerror) from None
    finally:
        try:  # a rename between two names of one file does nothing at all
            os.unlink(temporary)
        except FileNotFoundError:
            pass
    return {}, b""


def chmod(request: Dict[str, Any], body: bytes) -> Reply:
    path = request["path"]
    if not request.get("follow", True) and os.path.islink(path):
        return {}, b""  # Linux keeps no mode for a link
    os.chmod(path, request["mode"])
    return {}, b""


def chown(request: Dict[str, Any], body: bytes) -> Reply:
    os.chown(
        request["path"],
        uid_of(request.get("owner")),
        gid_of(request.get("group")),
        follow_symlinks=request.get("follow", True),
    )
    return {}, b""


OPERATIONS = {
    "stat": stat,
    "list": list_directory,
    "read": read,
    "write": write,
    "remove": remove,
    "mkdir": mkdir,
    "link": link,
    "chmod": chmod,
    "chown": chown,
}
