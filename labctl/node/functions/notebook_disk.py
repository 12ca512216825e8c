"""A disk of limited size for a notebook: an ext4 image, loop-mounted on the node, bound into the container.

What is available to its user (statvfs) is exactly what was asked for: the file system is made somewhat larger, and a
file takes what is too much. The image's blocks are allocated at once, so that a full node is noticed here and not as
an input/output error below the notebook. The loop device writes past the page cache where the kernel lets it:
cached twice, what is written would count as the notebook's memory twice.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import stat
import struct
import subprocess
from contextlib import contextmanager
from typing import Iterator, List

from labctl.node.functions import pods_containers as containers
from labctl.node.functions.notebook_links import NotebookError, forget

IMAGES = "/var/lib/labctl/notebook"
_DEVICES = "/dev"
_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A  # linux/loop.h, since 5.8
_AUTOCLEAR, _DIRECT_IO = 4, 16
_MISC, _LOOP_CONTROL, _LOOP = 10, 237, 7  # device numbers
_EXTRA = 8 << 20  # for what the file system itself takes of a small disk; of a larger one 1/32 more
_FILLER = ".taken"
_TRIES = 5


def image(pod: str) -> str:
    return os.path.join(IMAGES, pod + ".img")


def make(pod: str, size: int, program: str, folder: str) -> None:
    """Make the image and mount it at `folder`. `program` is the container image that has mke2fs. NotebookError."""
    path = image(pod)
    os.makedirs(IMAGES, exist_ok=True)
    os.makedirs(folder, exist_ok=True)
    try:
        with open(path, "wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size + size // 32 + _EXTRA)
    except OSError as error:
        raise NotebookError(
            "no room for a disk of %d MiB: %s: %s" % (size >> 20, path, error.strerror)
        ) from None
    _format(pod, path, program)
    _mount(pod, folder)
    _limit(folder, size)


def _format(pod: str, path: str, program: str) -> None:
    # The pod's image has mke2fs, a node may not; the label lets whoever cleans up find the container.
    argv = ["run", "--rm", "--label", "labctl.pod=%s" % pod]
    argv += ["--mount", "type=bind,src=%s,dst=/disks,options=rbind:rw" % IMAGES]
    argv += [program, "%s.mke2fs" % pod, "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-N", "1024"]
    argv += ["-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard", "/disks/" + os.path.basename(path)]
    try:
        containers.ctr(*argv, check="mke2fs")
    except containers.ContainerError as error:
        raise NotebookError("the disk cannot be formatted: %s" % error.words) from None


def _mount(pod: str, folder: str) -> None:
    path, words = image(pod), ""
    for _ in range(_TRIES):
        try:
            with _free_device(pod) as device:
                words = _mount_over(device, path, folder)
        except OSError as error:
            words = str(error)
            if error.errno == errno.EBUSY:  # somebody else took the device
                continue
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                break
            words = _run("mount", "-o", "loop,noatime", path, folder)  # a kernel before 5.8
        if not words:
            return
    raise NotebookError("the disk cannot be mounted: %s" % words)


def _mount_over(name: str, path: str, folder: str) -> str:
    """Attach and mount: the device is free again as soon as nobody has it open or mounted."""
    with open(path, "r+b") as backing, open(name, "r+b", buffering=0) as device:
        _attach(device.fileno(), backing.fileno())
        return _run("mount", "-t", "ext4", "-o", "noatime", name, folder)


@contextmanager
def _free_device(pod: str) -> Iterator[str]:
    """The path of a free loop device. A container's /dev may lack it, and does again afterwards."""
    with _node(pod, "loop-control", stat.S_IFCHR, _MISC, _LOOP_CONTROL) as control:
        descriptor = os.open(control, os.O_RDWR)
        try:
            number = fcntl.ioctl(descriptor, _GET_FREE)
        finally:
            os.close(descriptor)
    with _node(pod, "loop%d" % number, stat.S_IFBLK, _LOOP, number) as path:
        yield path


@contextmanager
def _node(pod: str, name: str, kind: int, major: int, minor: int) -> Iterator[str]:
    path = os.path.join(_DEVICES, name)
    if os.path.exists(path):
        yield path
        return
    path = os.path.join(_DEVICES, _own(pod) + name)  # `remove` knows whose it is, should its maker be killed
    forget(path)
    os.mknod(path, 0o600 | kind, os.makedev(major, minor))
    try:
        yield path
    finally:
        forget(path)


def _own(pod: str) -> str:
    return "labctl-notebook-%s." % pod


def _attach(device: int, backing: int) -> None:
    """Attach the file, in one call, so that nobody who is killed leaves a device taken."""
    for flags in (_AUTOCLEAR | _DIRECT_IO, _AUTOCLEAR):
        info = struct.pack("=5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, flags, b"", b"", b"", 0, 0)
        config = struct.pack("=2I", backing, 0) + info + bytes(64)
        try:
            fcntl.ioctl(device, _CONFIGURE, config)
        except OSError as error:
            if flags == _AUTOCLEAR or error.errno != errno.EINVAL:
                raise
        else:
            return


def _limit(folder: str, size: int) -> None:
    """Take what is available beyond `size`."""
    space = os.statvfs(folder)
    surplus = (space.f_bavail * space.f_frsize - size) // space.f_frsize * space.f_frsize
    if surplus < 0:
        raise NotebookError("the disk has %d bytes less than asked for" % -surplus)
    if surplus:
        with open(os.path.join(folder, _FILLER), "wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, surplus)


def available(folder: str) -> int:
    """Bytes that can still be written there."""
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


def empty(folder: str) -> None:
    """Remove what a step left."""
    for name in os.listdir(folder):
        if name in (_FILLER, "lost+found"):
            continue
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            forget(path)


def remove(pod: str, folder: str) -> bool:
    """Unmount the disk and remove its image and what it was attached by; False when there was none."""
    while os.path.ismount(folder):
        if _run("umount", folder) and _run("umount", "-l", folder):
            break
    for path in glob.glob(os.path.join(_DEVICES, glob.escape(_own(pod)) + "loop*")):
        forget(path)
    found = os.path.exists(image(pod))
    forget(image(pod))
    try:
        os.rmdir(IMAGES)  # the last one takes the folder with it
    except OSError:
        pass
    return found


def _run(*argv: str) -> str:
    """'' when it succeeded, else its words."""
    command: List[str] = list(argv)
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode == 0:
        return ""
    return done.stdout.decode(errors="replace").strip() or "%s ended with %d" % (argv[0], done.returncode)
