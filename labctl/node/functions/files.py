"""Files on a node, many in one round trip: look, compare trees, set attributes, expand.

A mode is a text: octal ("0644") or symbolic ("u=rw,g+r,o="). Checksums are sha1 hex digests unless named
otherwise. Paths are absolute.
"""

from __future__ import annotations

import base64
import errno
import glob
import grp
import hashlib
import os
import pwd
import re
import stat as st
import tempfile
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

Found = Dict[str, Any]

_TYPES = {
    st.S_IFREG: "file",
    st.S_IFDIR: "directory",
    st.S_IFLNK: "link",
    st.S_IFIFO: "fifo",
    st.S_IFSOCK: "socket",
    st.S_IFBLK: "block",
    st.S_IFCHR: "char",
}
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")


# ---------------------------------------------------------------- modes


def resolve_mode(mode: str, current: int, directory: bool = False, mask: int = 0o022) -> int:
    """The mode bits that `mode` makes of `current`, as chmod(1) would. ValueError when it is not a mode."""
    if re.fullmatch(r"0?o?[0-7]{1,4}|0[0-7]{4}", mode):
        return int(mode.replace("o", ""), 8)
    result = current
    for clause in mode.split(","):
        found = _CLAUSE.fullmatch(clause.strip())
        if not found:
            raise ValueError("'%s' is not a mode" % mode)
        for operator, what in re.findall(r"([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)", found.group(2)):
            result = _apply(result, found.group(1), operator, what, (directory, mask, current))
    return result


def _apply(mode: int, who: str, operator: str, what: str, around: tuple[bool, int, int]) -> int:
    directory, mask, original = around
    shifts = {"u": 6, "g": 3, "o": 0}
    everyone = "ugo" if not who or "a" in who else who
    bits = covered = 0
    for name in everyone:
        shift = shifts[name]
        covered |= 0o7 << shift
        if what in ("u", "g", "o"):
            bits |= ((mode >> shifts[what]) & 0o7) << shift
            continue
        bits |= (4 << shift if "r" in what else 0) | (2 << shift if "w" in what else 0)
        if "x" in what or ("X" in what and (directory or original & 0o111)):
            bits |= 1 << shift
    if not who:
        bits &= ~mask
    special = 0
    if "s" in what:
        special |= (st.S_ISUID if "u" in everyone else 0) | (st.S_ISGID if "g" in everyone else 0)
    if "t" in what:
        special |= st.S_ISVTX
    if operator == "+":
        return mode | bits | special
    if operator == "-":
        return mode & ~(bits | special)
    if not directory:  # chmod(1) leaves a directory's set-id bits to an explicit clause
        covered |= (st.S_ISUID if "u" in everyone else 0) | (st.S_ISGID if "g" in everyone else 0)
    return (mode & ~covered) | bits | special


def umask() -> int:
    with open("/proc/self/status") as stream:  # os.umask() would change it for every thread
        for line in stream:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


# ---------------------------------------------------------------- looking


def look(path: str, content: bool = False, follow: bool = True, limit: int = 16 << 20) -> Found:
    """{"stat", "content", "umask"}: one file and, when asked for, what is in it (base64)."""
    found = describe(path, follow)
    text = None
    if content and found and found["type"] == "file":
        if found["size"] > limit:
            raise OSError(errno.EFBIG, "larger than %d bytes" % limit, path)
        with open(path, "rb") as stream:
            text = base64.b64encode(stream.read()).decode()
    return {"stat": found, "content": text, "umask": umask()}


def describe(path: str, follow: bool = True) -> Optional[Found]:
    """As labctl.node.api.Stat, or None."""
    try:
        info = os.stat(path) if follow else os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return {
        "path": path,
        "type": _TYPES.get(st.S_IFMT(info.st_mode), "file"),
        "mode": st.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "owner": owner_of(info.st_uid),
        "group": group_of(info.st_gid),
        "size": info.st_size,
        "mtime": info.st_mtime,
        "atime": info.st_atime,
        "inode": info.st_ino,
        "device": info.st_dev,
        "links": info.st_nlink,
        "target": os.readlink(path) if st.S_ISLNK(info.st_mode) else None,
        "checksum": None,
    }


def owner_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_of(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def checksum(path: str, algorithm: str = "sha1") -> str:
    digest = hashlib.new(algorithm)
    with open(path, "rb", buffering=0) as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def compare(root: str, entries: Sequence[Found]) -> List[Optional[Found]]:
    """For each entry of a tree to be copied below `root` ({"path", "type", "checksum"?, "target"?}): what is
    there now ({"stat", "same"}), or None. Files of another size are not read."""
    answers: List[Optional[Found]] = []
    for entry in entries:
        path = os.path.join(root, entry["path"]) if entry["path"] else root
        found = describe(path, follow=entry["type"] != "link")
        if found is None or found["type"] != entry["type"]:
            answers.append({"stat": found, "same": False} if found else None)
            continue
        same = True
        if entry["type"] == "file":
            same = found["size"] == entry["size"] and checksum(path) == entry["checksum"]
        elif entry["type"] == "link":
            same = found["target"] == entry["target"]
        answers.append({"stat": found, "same": same})
    return answers


def contents(folder: str) -> Dict[str, str]:
    """What is in the regular files of a directory (base64), by name."""
    if not os.path.isdir(folder):
        raise OSError(errno.ENOTDIR, "not a directory", folder)
    found = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as stream:
                found[name] = base64.b64encode(stream.read()).decode()
    return found


def matches(pattern: str) -> bool:
    """Whether anything is there under a path or glob."""
    if not any(character in pattern for character in "*?["):
        return os.path.lexists(pattern)
    return any(True for _ in glob.iglob(pattern))


def expand(arguments: Sequence[str], environment: Mapping[str, str]) -> List[str]:
    """`$NAME` and `~` in a command's arguments, as the node's environment has them."""
    known = dict(os.environ, **environment)

    def value(found: re.Match[str]) -> str:
        return known.get(found.group(1) or found.group(2), found.group(0))

    return [re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, os.path.expanduser(argument)) for argument in arguments]


# ---------------------------------------------------------------- changing


def attributes(  # noqa: PLR0917
    path: str,
    mode: Optional[str] = None,
    owner: Optional[str] = None,
    group: Optional[str] = None,
    recurse: bool = False,
    follow: bool = True,
    apply: bool = False,
) -> List[str]:
    """The paths (of a whole tree with `recurse`) whose mode, owner or group differ; with `apply` they are
    changed. Links inside a tree keep their mode."""
    changed = []
    ids, mask = numbers(owner, group), umask()
    for name in tree(path) if recurse else [path]:
        inside = name != path
        if _attributes(name, mode, ids, mask, follow and not inside, apply):
            changed.append(name)
    return changed


def tree(path: str) -> Iterator[str]:
    yield path
    if not os.path.isdir(path):
        return
    for folder, folders, names in os.walk(path):
        for name in sorted(folders) + sorted(names):
            yield os.path.join(folder, name)


def _attributes(  # noqa: PLR0917
    path: str, mode: Optional[str], ids: tuple[int, int], mask: int, follow: bool, apply: bool
) -> bool:
    uid, gid = ids
    info = os.stat(path) if follow else os.lstat(path)
    differs = False
    if (uid >= 0 and uid != info.st_uid) or (gid >= 0 and gid != info.st_gid):
        differs = True
        if apply:
            os.chown(path, uid, gid, follow_symlinks=follow)
    if mode is not None and not st.S_ISLNK(info.st_mode):
        current = st.S_IMODE(info.st_mode)
        wanted = resolve_mode(mode, current, st.S_ISDIR(info.st_mode), mask)
        if wanted != current or (differs and wanted & 0o6000):  # chown takes set-id bits away
            differs = True
            if apply:
                os.chmod(path, wanted)
    return differs


def numbers(owner: Optional[str], group: Optional[str]) -> tuple[int, int]:
    """The user's and the group's number; -1 for none given."""
    return _uid(owner), _gid(group)


def real(path: str) -> str:
    """The path with every link in it followed."""
    return os.path.realpath(path)


def make_folders(
    path: str, mode: Optional[int] = None, owner: Optional[str] = None, group: Optional[str] = None
) -> List[str]:
    """Make a directory with its parents; those that were made get the mode and owner. Returns them."""
    missing, one = [], path.rstrip("/")
    while one and not os.path.isdir(one):
        missing.append(one)
        one = os.path.dirname(one)
    ids = numbers(owner, group)
    for one in reversed(missing):
        os.mkdir(one)
        if ids != (-1, -1):
            os.chown(one, *ids)
        if mode is not None:
            os.chmod(one, mode)
    return missing[::-1]


def _uid(owner: Optional[str]) -> int:
    if owner is None:
        return -1
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        if owner.isdigit():
            return int(owner)
        raise OSError(errno.EINVAL, "there is no user '%s'" % owner) from None


def _gid(group: Optional[str]) -> int:
    if group is None:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if group.isdigit():
            return int(group)
        raise OSError(errno.EINVAL, "there is no group '%s'" % group) from None


def touch(
    path: str, mtime: Optional[float] = None, atime: Optional[float] = None, create_mode: int = 0o666
) -> bool:
    """Make an empty file where there is none, and set its times (None: leave)."""
    made = False
    if not os.path.lexists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, create_mode))
        made = True
    info = os.stat(path)
    wanted = (info.st_atime if atime is None else atime, info.st_mtime if mtime is None else mtime)
    if wanted != (info.st_atime, info.st_mtime):
        os.utime(path, wanted)
    return made


def temporary(directory: bool, folder: Optional[str], prefix: str, suffix: str) -> str:
    """Make an empty file or directory of a new name, private to its owner."""
    if directory:
        return tempfile.mkdtemp(suffix, prefix, folder)
    fd, path = tempfile.mkstemp(suffix, prefix, folder)
    os.close(fd)
    return path
