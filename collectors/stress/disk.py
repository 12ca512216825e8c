"""Stressor of disks: files of incompressible bytes, written, made durable, read back from the disk and compared.

The file has no name from the moment it exists (O_TMPFILE, or unlinked at once): its blocks are free again when its worker
ends, however it ends. O_DIRECT goes past the page cache; without it fsync writes out, and the cache is dropped before
reading (posix_fadvise), so that what is compared has been on the disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct

from stress.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stress.board import Slot

STAMP = struct.Struct("=QQ")
# A file system that cannot make a file without a name, or a kernel that does not know how (it then sees a directory).
NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)


def nameless(folder: str, flags: int = 0) -> int:
    """A new file below `folder` that nobody can find."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        if error.errno not in NO_TMPFILE or not os.path.isdir(folder):
            raise
    path = "%s/.stress-%d" % (folder, os.getpid())
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    os.unlink(path)
    return fd


class Disk:
    unit = "bytes written"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.options = options
        self.pace = Pace(options["rate"])
        self.block = min(options["block"], options["size"])
        self.buffer = mmap.mmap(-1, self.block)  # page-aligned, as O_DIRECT wants it
        self.view = memoryview(self.buffer)
        self.buffer[:] = os.urandom(self.block)
        self.expected = self.buffer[STAMP.size :]

    def run(self, alive: Callable[[], bool]) -> None:
        passes = 0
        while alive():
            passes += 1
            try:
                self._pass(passes, alive)
            except OSError as error:
                self.slot.fail(error, "disk file of %d bytes" % self.slot.held)
                raise SystemExit(3) from None

    def _pass(self, number: int, alive: Callable[[], bool]) -> None:
        options = self.options
        fd = nameless(options["folder"], os.O_DIRECT if options["direct"] else 0)
        try:
            written = 0
            while written < options["size"] and alive():
                STAMP.pack_into(self.buffer, 0, number, written)
                amount = min(self.block, options["size"] - written)
                self._write(fd, written, amount)
                written += amount
                self.pace.wait(amount)
            if options["fsync"]:
                os.fsync(fd)
            if options["verify"]:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                self._check(fd, number, written, alive)
        finally:
            os.close(fd)
        self.slot.put(held=0.0)

    def _write(self, fd: int, offset: int, amount: int) -> None:
        done = 0
        while done < amount:  # the last free blocks take a part; to ask for the rest gives the reason
            part = os.pwritev(fd, [self.view[done:amount]], offset + done)
            done += part
            self.slot.put(work=part, held=offset + done)

    def _check(self, fd: int, number: int, written: int, alive: Callable[[], bool]) -> None:
        for offset in range(0, written, self.block):
            if not alive():
                return
            amount = min(self.block, written - offset)
            got = os.preadv(fd, [self.view[:amount]], offset)
            stamp = STAMP.unpack_from(self.buffer, 0)
            same = self.buffer[STAMP.size : got] == self.expected[: got - STAMP.size]
            if got != amount or stamp != (number, offset) or not same:
                raise OSError(errno.EIO, "what was read at %d is not what was written" % offset)
            self.slot.put(checked=got)
