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
import gc
import json
import os
import signal
import sys
import time

from parts.counters import NULL, SWAP, Container, Files, Hierarchy
from parts.lines import emit, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVE = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Node:
    """The machine as a whole: CPU in clock ticks by kind, memory in bytes, swap traffic in pages; and the CPU of
    the cgroup this node is (all of the machine, or what a node that is itself a container may see)."""

    def __init__(self, proc: str, hierarchy: Hierarchy) -> None:
        self.stat = Files([proc + "/stat"])
        self.own_files, self.own = hierarchy.total("")
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
