"""Sample the cgroups of containers: every container in one pass, at a fixed rate, as JSON lines.

    cgroup.py --pod tensorflow-ai-workload [--root labctl] [--interval 0.1]
    cgroup.py --map web/nginx=kubepods/besteffort/pod1234/5678

Containers come and go (a migration deletes them here and makes them there), so the program is told what
to look for: the children `<pod>.<container>` of the cgroup `--root`, or exact paths. On cgroup v1 a path
is looked up below each controller. A header line, a sample line per snapshot, a gone line per vanished
cgroup, and on SIGTERM an end line; docs/architecture.md has their fields. Memory and swap traffic of the
whole node are read once a second and repeated in between; everything else is read for each line.

CPU used between the last sample of a container and the end of its cgroup: kernfs files cannot be read
once the directory is removed (ENODEV), so it is taken from the parent's counter, which goes on counting
what dead children used. `missed_usec` of a gone line is that difference; where several cgroups vanished
within one interval each gets an equal share, `missed_of` names them, and their sum is what was measured.
Its error is bounded by the time two snapshots took (`took`). Where the parent cannot tell, it is null with
a reason; then at most interval x CPUs was missed.
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import re
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Text = bytes | None

LEAVE = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
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


class Node:
    """The machine as a whole: CPU in clock ticks by kind, memory in bytes, swap traffic in pages; and the CPU of
    the cgroup this node is (all of the machine, or what a node that is itself a container may see)."""

    def __init__(self, proc: str, hierarchy: Hierarchy) -> None:
        self.stat = Files([proc + "/stat"])
        self.own_files, self.own = hierarchy.cpu("")
        self.slow = Files([proc + "/meminfo", proc + "/vmstat"])
        self.due = 0.0
        self.values = b""

    def read(self, now: float) -> bytes:
        if now >= self.due:
            self.due = now + 0.999
            memory, swap = self.slow.read()
            at = memory.find(b"MemAvailable:")
            available = NULL if at < 0 else b"%d" % (int(memory[at + 13 : at + 40].split()[0]) * 1024)
            self.values = b'"mem_available":%b,"pswpin":%b,"pswpout":%b' % (available, *SWAP.parse(swap))
        own = self.own(*self.own_files.read())
        ticks = self.stat.read()[0].split(None, 9)[1:9]
        return b'{"cpu":[%b],"own_usec":%b,%b}' % (
            b",".join(ticks),
            b"%d" % own[0] if own else NULL,
            self.values,
        )


class Sampler:
    def __init__(self, options: argparse.Namespace) -> None:
        self.hierarchy = Hierarchy(options.sysfs)
        self.node = Node(options.proc, self.hierarchy)
        self.root = options.root
        self.directory = self.hierarchy.place("cpuacct", options.root)[0]
        self.prefixes = tuple([pod + "." for pod in options.pod])
        self.exact = dict([entry.split("=", 1) for entry in options.map])
        self.watch_root = bool(options.pod) or not self.exact
        self.containers = {}
        self.present = self.exact
        self.links = None
        self.scanned = 0
        self.parent = None
        self.parent_before = None
        self.alone = True

    def discover(self) -> dict[str, str]:
        """The cgroups to sample now, {container name: path}. The parent is listed when its link count (the
        number of its children) changed, when a child vanished, and at every tenth snapshot."""
        if not self.watch_root:
            return self.exact
        try:
            links = os.stat(self.directory).st_nlink
        except OSError:
            links = 0
        self.scanned += 1
        if links == self.links and links > 1 and self.scanned % 10:
            return self.present
        self.links, self.present, self.alone = links, dict(self.exact), True
        try:
            with os.scandir(self.directory) as entries:
                children = [entry.name for entry in entries if entry.is_dir()]
        except OSError:
            children = []
        for child in children:
            if self.prefixes and not child.startswith(self.prefixes):
                self.alone = False
            else:
                self.present["/".join(child.rsplit(".", 1))] = "%s/%s" % (self.root, child)
        return self.present

    def parent_usage(self) -> int | None:
        """Cumulative CPU of the parent cgroup in microseconds, or None."""
        if not self.watch_root:
            return None
        self.parent = self.parent or Container(self.hierarchy, self.root, self.root, False)
        usage = self.parent.usage()
        if usage is None:
            self.parent.close()
            self.parent = None
            return None
        return usage[0]

    def read(self) -> tuple[dict[str, tuple[int, bytes]], list[Container]]:
        """The CPU of every container that is there, and those that are no longer."""
        present = self.discover()
        gone = [self.containers.pop(name) for name in set(self.containers).difference(present)]
        found = {}
        for name, path in present.items():
            container = self.containers.get(name)
            usage = container.usage() if container else None
            if usage is None:
                if container:  # perhaps made again under the same name
                    gone.append(self.containers.pop(name))
                    self.links = None
                container = Container(self.hierarchy, name, path, name not in self.exact)
                usage = container.usage()
                if usage is None:
                    container.close()
                    continue
                self.containers[name] = container
            found[name] = usage
        return found, gone

    def snapshot(self) -> bytes:
        """One pass: the sample line, and a gone line for each cgroup that vanished since the last."""
        mono, wall = time.monotonic(), time.time()
        found, gone = self.read()
        parent = self.parent_usage()
        used = 0
        fragments = []
        for name, (usec, cpu) in found.items():
            container = self.containers[name]
            if container.from_root:
                used += usec - container.usec
            container.usec, container.last = usec, b"{%b%b}" % (cpu, container.rest())
            fragments.append(b"%b:%b" % (container.key, container.last))
        node = self.node.read(mono)
        lines = SAMPLE % (mono, wall, time.monotonic() - mono, node, b",".join(fragments))
        if gone:
            lines += b"".join(self.farewell(gone, parent, used, mono, wall))
        self.parent_before = parent
        return lines

    def farewell(
        self, gone: list[Container], parent: int | None, used: int, mono: float, wall: float
    ) -> Iterator[bytes]:
        """`used`: what the remaining containers used since the last snapshot."""
        mine = [container.name for container in gone if container.from_root]
        missed, reason = None, "an exact path has no known parent"
        if mine and not self.alone:
            reason = "other containers below the parent cgroup are not sampled"
        elif mine and (parent is None or self.parent_before is None):
            reason = "the parent cgroup has no readable CPU counter"
        elif mine:
            missed = max(0, parent - self.parent_before - used) // len(mine)
        for container in gone:
            known = missed is not None and container.from_root
            how = {"missed_of": mine} if known else {"missed_reason": reason}
            how = {"missed_usec": missed if known else None, **how}
            yield GONE % (mono, wall, container.key, container.last, json.dumps(how)[1:].encode())
            container.close()


SAMPLE = b'{"type":"sample","mono":%.6f,"wall":%.6f,"took":%.6f,"node":%b,"containers":{%b}}\n'
GONE = b'{"type":"gone","mono":%.6f,"wall":%.6f,"container":%b,"last":%b,%b\n'


def write(data: bytes) -> None:
    """Hand lines over at once; a reader that went away ends the program."""
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        raise SystemExit(0) from None


def emit(line: dict[str, object]) -> None:
    write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cgroup.py", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pod", action="append", default=[], help="sample this pod's containers")
    parser.add_argument("--root", default="labctl", help="the cgroup whose children are <pod>.<container>")
    parser.add_argument("--map", action="append", default=[], metavar="NAME=PATH", help="sample this cgroup")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between two snapshots")
    parser.add_argument("--samples", type=int, help="end after so many snapshots")
    parser.add_argument("--host", default=os.uname().nodename, help="the name to write in the header")
    parser.add_argument("--sysfs", default="/sys/fs/cgroup", help="where the cgroup file systems are")
    parser.add_argument("--proc", default="/proc", help="where the proc file system is")
    options = parser.parse_args(argv)
    if options.interval < 0.005:
        parser.error("--interval: at least 0.005 seconds")
    for entry in options.map:
        if "=" not in entry:
            parser.error("--map: expected NAME=PATH, not %r" % entry)
    options.root = options.root.strip("/")
    return options


def header(options: argparse.Namespace, version: object, late_after: float) -> dict[str, object]:
    boot_id = Files([options.proc + "/sys/kernel/random/boot_id"], 1).read()[0]
    return {
        "type": "header",
        "host": options.host,
        "version": version,
        "interval": options.interval,
        "cpus": os.cpu_count(),
        "clock_ticks": os.sysconf("SC_CLK_TCK"),
        "pid": os.getpid(),
        "boot_id": boot_id.decode().strip() if boot_id else None,
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "late_after": late_after,
    }


def main(argv: list[str]) -> None:
    options = arguments(argv)
    # Blocked signals and sigtimedwait: the sleep ends at once on SIGTERM and no line is ever cut in two.
    signal.pthread_sigmask(signal.SIG_BLOCK, LEAVE)
    sampler = Sampler(options)
    gc.disable()  # nothing here makes cycles; a collection would only delay a snapshot
    interval = options.interval
    late_after = max(0.002, interval / 10)
    emit(header(options, sampler.hierarchy.version, late_after))
    startup = time.process_time()
    begun = due = time.monotonic()
    samples = late = missed = 0
    leaving = None
    while True:
        write(sampler.snapshot())
        samples += 1
        if leaving or samples == options.samples:
            break
        due += interval
        now = time.monotonic()
        if now >= due + interval:
            skipped = int((now - due) / interval)
            missed += skipped
            due += skipped * interval
        leaving = signal.sigtimedwait(LEAVE, max(0.0, due - now))
        late += time.monotonic() - due > late_after
    ended = time.monotonic()
    end = {"type": "end", "mono": ended, "wall": time.time(), "samples": samples, "late": late}
    end.update(missed=missed, cpu_seconds=time.process_time() - startup, wall_seconds=ended - begun)
    emit({**end, "startup_cpu_seconds": startup})


if __name__ == "__main__":
    main(sys.argv[1:])
