"""The counters of one cgroup: where they are in cgroup v1, v2 and hybrid hierarchies, and reading them fast.

Files are opened once and read with pread; what is read goes out as text, without a number being made of it.
"""

from __future__ import annotations

import errno
import json
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Text = bytes | None

pread = os.pread


class Gone(Exception):
    """The cgroup was removed."""


class Files:
    """Files that are opened once and read together with pread; None for each that is not there."""

    __slots__ = ("fds", "missing", "paths", "tries")

    def __init__(self, paths: list[str], tries: int = 20) -> None:
        self.paths = paths
        self.fds = [-1] * len(paths)
        self.missing = True
        self.tries = tries  # a runtime makes a container's cgroups one after the other

    def read(self) -> list[bytes | None]:
        if self.missing:
            return self._read_some()
        try:
            return [pread(fd, 16384, 0) for fd in self.fds]
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise Gone from None
            self.missing = True
            return self._read_some()

    def _read_some(self) -> list[bytes | None]:
        """The slow way: open what can be opened now, skip what cannot be read."""
        data = []
        for index, path in enumerate(self.paths):
            text = None
            try:
                if self.fds[index] < 0 and self.tries > 0:
                    self.fds[index] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                if self.fds[index] >= 0:
                    text = pread(self.fds[index], 16384, 0)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise Gone from None
            data.append(text)
        self.tries -= 1
        self.missing = None in data
        return data

    def close(self) -> None:
        for fd in self.fds:
            if fd >= 0:
                os.close(fd)
        self.fds = [-1] * len(self.paths)


class Table:
    """Values of some keys of a "key value" file. Their places are learnt once and verified after."""

    __slots__ = ("keys", "places")

    def __init__(self, *keys: str) -> None:
        self.keys = [key.encode() for key in keys]
        self.places = None

    def parse(self, data: bytes | None) -> list[bytes]:
        words = data.split() if data else []
        words.append(NULL)
        try:
            if self.places and [words[place] for place, _ in self.places] == self.keys:
                return [words[place] for _, place in self.places]
        except IndexError:
            pass
        found = [words.index(key) if key in words else None for key in self.keys]
        self.places = None if None in found else [(place, place + 1) for place in found]
        return [NULL if place is None else words[place + 1] for place in found]


# Values go from the kernel's text to the JSON line as they are: no dict is built, no number parsed.
NULL = b"null"
STAT_V2 = Table("usage_usec", "user_usec", "system_usec")
QUOTA_V2 = Table("nr_periods", "nr_throttled", "throttled_usec")
QUOTA_V1 = Table("nr_periods", "nr_throttled", "throttled_time")
ACCOUNT_V1 = Table("user", "system")
MEMORY_V2 = Table("anon", "file", "inactive_file", "shmem")
KERNEL_V2 = Table("kernel")  # since Linux 5.18
MEMORY_V1 = Table("total_rss", "total_cache", "total_inactive_file", "total_shmem")
EVENTS = Table("oom_kill")
SWAP = Table("pswpin", "pswpout")
PSI = re.compile(rb"(some|full) .*?total=(\d+)")
TICK_USEC = 1000000 // os.sysconf("SC_CLK_TCK")

CPU = b'"cpu_usec":%d,"user_usec":%b,"system_usec":%b,"periods":%b,"throttled":%b,"throttled_usec":%b,'
REST = (
    b'"memory":%b,"peak":%b,"anon":%b,"file":%b,"inactive_file":%b,"shmem":%b,"kernel":%b,'
    b'"oom_kills":%b,"pids":%b,"psi":%b'
)
STALLED = b'{"cpu_some":%b,"memory_some":%b,"memory_full":%b,"io_some":%b}'
UNKNOWN = REST % ((NULL,) * 10)
CPU_FILES = {2: ("cpu.stat",), 1: ("cpuacct.usage", "cpuacct.stat")}
MEMORY_FILES = {
    2: ("current", "peak", "stat", "events"),
    1: ("usage_in_bytes", "max_usage_in_bytes", "stat", "oom_control", "kmem.usage_in_bytes"),
}


def cpu_v2(stat: Text) -> tuple[int, bytes] | None:
    """Cumulative CPU in microseconds and the CPU part of a line; None while the cgroup has none."""
    if not stat:
        return None
    usage, user, system = STAT_V2.parse(stat)
    return int(usage), CPU % (int(usage), user, system, *QUOTA_V2.parse(stat))


def cpu_v1(usage: Text, account: Text, stat: Text) -> tuple[int, bytes] | None:
    if not usage:
        return None
    user, system = [
        word if word is NULL else b"%d" % (int(word) * TICK_USEC) for word in ACCOUNT_V1.parse(account)
    ]
    periods, throttled, time_ns = QUOTA_V1.parse(stat)
    if time_ns is not NULL:
        time_ns = b"%d" % (int(time_ns) // 1000)
    microseconds = int(usage) // 1000
    return microseconds, CPU % (microseconds, user, system, periods, throttled, time_ns)


def total_v1(usage: Text) -> tuple[int, bytes] | None:
    return (int(usage) // 1000, b"") if usage else None


def plain(data: Text) -> bytes:
    return data.rstrip() if data else NULL


def memory_v2(current: Text, peak: Text, stat: Text, events: Text) -> tuple[bytes, ...]:
    return (
        plain(current),
        plain(peak),
        *MEMORY_V2.parse(stat),
        *KERNEL_V2.parse(stat),
        *EVENTS.parse(events),
    )


def memory_v1(current: Text, peak: Text, stat: Text, events: Text, kernel: Text) -> tuple[bytes, ...]:
    return (plain(current), plain(peak), *MEMORY_V1.parse(stat), plain(kernel), *EVENTS.parse(events))


def psi(cpu: Text, memory: Text, io: Text) -> bytes:
    """Microseconds stalled since the cgroup was made, or null where the kernel has no PSI for it."""
    if not (cpu or memory or io):
        return NULL
    of_cpu, of_memory, of_io = [dict(PSI.findall(data or b"")) for data in (cpu, memory, io)]
    totals = (of_cpu.get(b"some"), of_memory.get(b"some"), of_memory.get(b"full"), of_io.get(b"some"))
    return STALLED % tuple([total or NULL for total in totals])


class Hierarchy:
    """Where this machine has which controller: cgroup v1, v2, or both (hybrid)."""

    def __init__(self, sysfs: str) -> None:
        self.sysfs = sysfs
        self.v1 = {}
        if os.path.exists(sysfs + "/cgroup.controllers"):
            self.version, self.v2 = 2, sysfs
            return
        for name in sorted(os.listdir(sysfs)) if os.path.isdir(sysfs) else ():
            for controller in name.split(","):
                self.v1.setdefault(controller, os.path.join(sysfs, name))
        self.v2 = sysfs + "/unified" if os.path.exists(sysfs + "/unified/cgroup.controllers") else None
        self.version = "hybrid" if self.v2 else 1
        if "cpuacct" not in self.v1 and not self.v2:
            raise SystemExit("cgroup.py: %s holds no cgroup file system with CPU accounting" % sysfs)

    def place(self, controller: str, path: str) -> tuple[str, int]:
        """The directory of a cgroup in the hierarchy that has the controller, and its version."""
        if controller in self.v1:
            return "%s/%s/" % (self.v1[controller], path), 1
        return "%s/%s/" % (self.v2, path), 2

    def cpu(self, path: str) -> tuple[Files, Callable[..., tuple[int, bytes] | None]]:
        """What reads a cgroup's CPU: its files, and the function that makes values of them."""
        directory, version = self.place("cpuacct", path)
        paths = [directory + name for name in CPU_FILES[version]]
        if version == 2:
            return Files(paths), cpu_v2
        return Files([*paths, self.place("cpu", path)[0] + "cpu.stat"]), cpu_v1

    def total(self, path: str) -> tuple[Files, Callable[..., tuple[int, bytes] | None]]:
        """As `cpu`, where only the counter itself is wanted: on cgroup v1 one file is enough for that."""
        directory, version = self.place("cpuacct", path)
        if version == 2:
            return self.cpu(path)
        return Files([directory + CPU_FILES[1][0]]), total_v1


class Container:
    def __init__(self, hierarchy: Hierarchy, name: str, path: str, from_root: bool) -> None:
        self.name = name
        self.key = json.dumps(name).encode()
        self.from_root = from_root
        self.cpu_files, self.cpu = hierarchy.cpu(path)
        directory, version = hierarchy.place("memory", path)
        self.memory_files = Files([directory + "memory." + name for name in MEMORY_FILES[version]])
        self.memory = memory_v2 if version == 2 else memory_v1
        self.pids_files = Files([hierarchy.place("pids", path)[0] + "pids.current"])
        where = "%s/%s/" % (hierarchy.v2, path)
        self.psi_files = Files([where + what for what in ("cpu.pressure", "memory.pressure", "io.pressure")])
        self.usec = 0  # its counter at the last snapshot, and that snapshot's text
        self.last = NULL

    def usage(self) -> tuple[int, bytes] | None:
        """Its CPU counter and the CPU part of a line; None when its cgroup is not there."""
        try:
            return self.cpu(*self.cpu_files.read())
        except Gone:
            return None

    def rest(self) -> bytes:
        """What is not CPU: read after every container's CPU, so that those are as close as can be. A
        controller whose directory went first reads as unknown."""
        try:
            memory = self.memory(*self.memory_files.read())
            return REST % (*memory, plain(self.pids_files.read()[0]), psi(*self.psi_files.read()))
        except Gone:
            return UNKNOWN

    def close(self) -> None:
        for files in (self.cpu_files, self.memory_files, self.pids_files, self.psi_files):
            files.close()
