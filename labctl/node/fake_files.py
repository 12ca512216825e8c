"""The file system of a `FakeNode`: entries by path, links that lead somewhere, errors by errno."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import time
from collections.abc import Mapping

from labctl.errors import NodeError
from labctl.node.api import FileType, Stat
from labctl.records import dataclass, field


@dataclass
class Entry:
    """One file of the fake file system; two names of one `Entry` are hard links."""

    type: FileType
    mode: int
    uid: int = 0
    gid: int = 0
    data: bytes = b""
    target: str = ""
    mtime: float = field(default_factory=time.time)
    inode: int = field(default_factory=itertools.count(2).__next__)


class FakeFiles:
    """Starts with the usual top folders, all root's."""

    def __init__(self) -> None:
        self.users = {"root": 0, "daemon": 1, "www-data": 33, "user": 1000}
        self.groups = {"root": 0, "daemon": 1, "www-data": 33, "user": 1000}
        self.entries: dict[str, Entry] = {"/": Entry("directory", 0o755)}
        for path in ("/etc", "/home", "/root", "/tmp", "/usr", "/var", "/srv"):  # noqa: S108
            self.add_directory(path)
        self.mount_points: set[str] = {"/"}

    def add_file(
        self, path: str, data: bytes = b"", *, mode: int = 0o644, owner: str = "root", group: str = "root"
    ) -> Entry:
        self.add_parents(path)
        self.entries[path] = Entry("file", mode, self.uid_of(owner), self.gid_of(group), data)
        return self.entries[path]

    def add_directory(self, path: str, *, mode: int = 0o755) -> Entry:
        self.add_parents(path)
        self.entries[path] = Entry("directory", mode)
        return self.entries[path]

    def add_link(self, path: str, target: str) -> Entry:
        self.add_parents(path)
        self.entries[path] = Entry("link", 0o777, target=target)
        return self.entries[path]

    def add_parents(self, path: str) -> None:
        parent = os.path.dirname(path)
        if parent not in self.entries:
            self.add_directory(parent)

    def resolve(self, path: str, depth: int = 0) -> str:
        """The path with every link in it followed."""
        if depth > 40:
            raise problem("ELOOP", path)
        real = "/"
        parts = os.path.normpath(path).strip("/").split("/")
        for index, part in enumerate(parts):
            real = os.path.join(real, part) if part else real
            entry = self.entries.get(real)
            if entry and entry.type == "link":
                rest = os.path.join(os.path.dirname(real), entry.target, *parts[index + 1 :])
                return self.resolve(rest, depth + 1)
        return real

    def resolve_parent(self, path: str) -> str:
        folder, name = os.path.split(os.path.normpath(path))
        return os.path.join(self.resolve(folder), name)

    def existing(self, path: str, *, follow: bool = True) -> Entry:
        real = self.resolve(path) if follow else self.resolve_parent(path)
        if real not in self.entries:
            raise problem("ENOENT", path)
        return self.entries[real]

    def parent_of(self, real: str) -> None:
        parent = self.entries.get(os.path.dirname(real))
        if parent is None:
            raise problem("ENOENT", real)
        if parent.type != "directory":
            raise problem("ENOTDIR", real)

    def describe(self, path: str, entry: Entry, *, checksum: bool) -> Stat:
        regular = entry.type == "file"
        return Stat(
            path=path,
            type=entry.type,
            mode=entry.mode,
            uid=entry.uid,
            gid=entry.gid,
            owner=_name_of(self.users, entry.uid),
            group=_name_of(self.groups, entry.gid),
            size=len(entry.data),
            mtime=entry.mtime,
            atime=entry.mtime,
            inode=entry.inode,
            device=1,
            links=max(1, sum(one is entry for one in self.entries.values())),
            target=entry.target if entry.type == "link" else None,
            checksum=hashlib.sha1(entry.data, usedforsecurity=False).hexdigest()
            if checksum and regular
            else None,
        )

    def uid_of(self, name: str) -> int:
        return _number(self.users, name, "user")

    def gid_of(self, name: str) -> int:
        return _number(self.groups, name, "group")


def _number(table: Mapping[str, int], name: str, kind: str) -> int:
    if name in table:
        return table[name]
    if name.isdigit():
        return int(name)
    raise NodeError(f"there is no {kind} '{name}'", errno_name="EINVAL")


def _name_of(table: Mapping[str, int], number: int) -> str:
    return next((name for name, value in table.items() if value == number), str(number))


def problem(errno_name: str, path: str | None) -> NodeError:
    text = os.strerror(getattr(errno, errno_name))
    return NodeError(f"{path}: {text}" if path else text, errno_name=errno_name, path=path)
