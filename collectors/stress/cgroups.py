"""The cgroups of a container, found through one of its processes, and joining them.

A program that joins is held to the container's limits and counted with it, without being seen in it: it needs nothing of
the container's image, and whoever started it stays its parent. cgroup v1: one cgroup in each hierarchy; v2: one; hybrid: both.
See cgroups(7) for /proc/PID/cgroup and proc(5) for mountinfo.
"""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED = 1 << 60  # v1 says "no limit" by a number near 2**63
# A frozen process cannot even be killed on v1; the manager's own hierarchies (name=systemd) limit nothing.
LEFT_ALONE = {"freezer"}
FILES = {  # resource: (its controller, the limit's file on v1, on v2)
    "memory": ("memory", "memory.limit_in_bytes", "memory.max"),
    "pids": ("pids", "pids.max", "pids.max"),
}


class NoContainer(Exception):
    """The process is in no cgroup that could be joined; the text says why."""


def mounts(text: str) -> Iterator[tuple[str, str, set[str]]]:
    """(mount point, its root within the hierarchy, controllers; none on v2) of what /proc/self/mountinfo holds."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(" "), "", "", ""][:3]
        if kind in ("cgroup", "cgroup2"):
            root, point = [_plain(word) for word in before.split(" ")[3:5]]
            yield point, root, set() if kind == "cgroup2" else set(options.split(","))


def _plain(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), word)


def memberships(text: str) -> dict[str, tuple[set[str], str]]:
    """{hierarchy: (controllers, path)} of what /proc/PID/cgroup holds; v2 has no controllers."""
    found = {}
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        found[number + controllers] = (set(controllers.split(",")) - {""}, path)
    return found


class Cgroups:
    """Where a process is in each hierarchy. NoContainer when it is nowhere that this process is not itself."""

    def __init__(self, pid: int, proc: str = "/proc") -> None:
        try:
            theirs = memberships(_read("%s/%d/cgroup" % (proc, pid)))
        except OSError as error:
            raise NoContainer("process %d: %s" % (pid, error.strerror)) from None
        mine = memberships(_read(proc + "/self/cgroup"))
        mounted = list(mounts(_read(proc + "/self/mountinfo")))
        self.places: list[tuple[set[str], str, str]] = []  # controllers, directory, mount point
        for key, (controllers, path) in theirs.items():
            if controllers & LEFT_ALONE or any(name.startswith("name=") for name in controllers):
                continue
            if path == mine.get(key, (None, None))[1]:
                continue
            if path.startswith("/.."):
                raise NoContainer("process %d: its cgroup %s is outside of what this node sees" % (pid, path))
            self._place(controllers, path, mounted)
        if not self.places:
            raise NoContainer("process %d is in no cgroup of its own" % pid)

    def _place(self, controllers: set[str], path: str, mounted: list[tuple[str, str, set[str]]]) -> None:
        for point, root, offered in mounted:
            same = controllers <= offered if controllers else not offered
            below = (
                path if root == "/" else path[len(root) :] if (path + "/").startswith(root + "/") else None
            )
            if same and below is not None and os.path.isdir(point + below):
                self.places.append((controllers, (point + below).rstrip("/"), point))
                return

    def directories(self) -> dict[str, str]:
        """{controllers, or "unified": directory}."""
        return {",".join(sorted(names)) or "unified": folder for names, folder, _ in self.places}

    def join(self) -> None:
        """Move this process there. OSError when the kernel refuses (a cgroup that is gone, no right to)."""
        for _, folder, _ in self.places:
            with open(folder + "/cgroup.procs", "wb", buffering=0) as stream:
                stream.write(b"0")

    def limit(self, resource: str) -> int | None:
        """The lowest limit of a resource (bytes of memory, processes) from the cgroup up; None: there is none."""
        controller, v1, v2 = FILES[resource]
        found = [
            _number(above + "/" + (v1 if names else v2))
            for names, folder, point in self.places
            if not names or controller in names
            for above in _upwards(folder, point)
        ]
        return min([value for value in found if value is not None], default=None)

    def oom_kills(self) -> int | None:
        """How many of the cgroup's processes the kernel has killed for memory; None where it does not count."""
        for names, folder, _ in self.places:
            if not names or "memory" in names:
                try:
                    text = _read(folder + ("/memory.oom_control" if names else "/memory.events"))
                except OSError:
                    continue
                found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
                if found:
                    return int(found.group(1))
        return None


def _upwards(folder: str, point: str) -> Iterator[str]:
    """A cgroup and those above it, without the root of the hierarchy."""
    while len(folder) > len(point):
        yield folder
        folder = os.path.dirname(folder)


def _number(path: str) -> int | None:
    try:
        value = int(_read(path))
    except (OSError, ValueError):  # "max", or a hierarchy without this controller
        return None
    return value if value < UNLIMITED else None


def _read(path: str) -> str:
    with open(path) as stream:
        return stream.read()
