"""Replacing a file in one step. Runs on the node: standard library only, Python 3.8 syntax."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat as st
import time

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Set

_KEPT_ATTRIBUTES = ("security.selinux", "system.posix_acl_access")
_unfinished: Set[str] = set()


def problem(number: int, path: str, text: Optional[str] = None) -> OSError:
    return OSError(number, text or os.strerror(number), path)


def uid_of(name: Optional[str]) -> int:
    if name is None:
        return -1
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        if name.isdigit():
            return int(name)
        raise OSError(errno.EINVAL, "there is no user '%s'" % name) from None


def gid_of(name: Optional[str]) -> int:
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdigit():
            return int(name)
        raise OSError(errno.EINVAL, "there is no group '%s'" % name) from None


class Replacement:
    """A file that will replace `path` (the file a link there points to) in one step.

    The temporary stands in the same directory, so that the rename is atomic; it has its final owner and
    mode before the first byte."""

    def __init__(self, request: Dict[str, Any]) -> None:
        self.path = os.path.realpath(request["path"])
        mode, owner, group = request.get("mode"), uid_of(request.get("owner")), gid_of(request.get("group"))
        try:
            old: Optional[os.stat_result] = os.stat(self.path)
        except FileNotFoundError:
            old = None
        if old and st.S_ISDIR(old.st_mode):
            raise problem(errno.EISDIR, self.path)
        self.exists = old is not None
        folder, name = os.path.split(self.path)
        self.temporary = os.path.join(
            folder, ".%s.labctl-%d-%d" % (name[:200], os.getpid(), time.monotonic_ns())
        )
        try:
            self.fd = os.open(
                self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise problem(error.errno or errno.EIO, self.path, error.strerror) from None
        _unfinished.add(self.temporary)
        try:
            self._adopt(old, mode, owner, group)
        except BaseException:
            self.abandon()
            raise

    def _adopt(self, old: Optional[os.stat_result], mode: Optional[int], uid: int, gid: int) -> None:
        if old:
            uid = old.st_uid if uid < 0 else uid
            gid = old.st_gid if gid < 0 else gid
            mode = st.S_IMODE(old.st_mode) if mode is None else mode
            for name in _KEPT_ATTRIBUTES:
                try:
                    os.setxattr(self.fd, name, os.getxattr(self.path, name))
                except OSError:  # none there, or none possible
                    continue
        elif mode is None:
            mode = 0o666 & ~umask()
        mine = os.fstat(self.fd)
        if (uid >= 0 and uid != mine.st_uid) or (gid >= 0 and gid != mine.st_gid):
            try:
                os.fchown(self.fd, uid, gid)
            except OSError as error:
                raise problem(error.errno or errno.EPERM, self.path, error.strerror) from None
        os.fchmod(self.fd, mode)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except OSError as error:
                raise problem(error.errno or errno.EIO, self.path, error.strerror) from None

    def commit(self, backup: bool = False) -> Optional[str]:
        """Put it in place and make that durable. Returns the path of the backup of the old file."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            raise problem(error.errno or errno.EIO, self.path, error.strerror) from None
        kept = None
        if backup and self.exists:
            kept = "%s.%d.%s~" % (self.path, os.getpid(), time.strftime("%Y-%m-%d@%H:%M:%S"))
            keep(self.path, kept)
        os.rename(self.temporary, self.path)
        os.close(self.fd)
        self.fd = -1
        _unfinished.discard(self.temporary)
        sync_folder(os.path.dirname(self.path))
        return kept

    def abandon(self) -> None:
        """Leave no trace; safe to call at any time, also after `commit`."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            _remove(self.temporary)


def abandon_all() -> None:
    """Remove every temporary: the agent ends in the middle of its work."""
    for temporary in list(_unfinished):
        _remove(temporary)


def _remove(temporary: str) -> None:
    _unfinished.discard(temporary)
    try:
        os.unlink(temporary)
    except OSError:
        pass


def keep(path: str, kept: str) -> None:
    """A second name for the old content; a copy where the file system has no hard links."""
    try:
        os.link(path, kept)
    except OSError:
        import shutil

        shutil.copy2(path, kept)


def umask() -> int:
    with open("/proc/self/status") as stream:  # os.umask() would change it for every thread
        for line in stream:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022


def sync_folder(folder: str) -> None:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)
