"""A slow network: hosts in a network namespace of their own, every packet on its way for a set time.

Two TUN devices, one on either side, and a process that carries packets from one to the other, each `delay` seconds after it
came. That needs /dev/net/tun and root but no netem in the kernel, which many have not. All of it ends with this process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack, suppress

from benchmarks.fleet import CannotBenchmark, apt_install, stop

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x1001  # IFF_TUN | IFF_NO_PI
_NETWORK = "198.18.77"  # set aside for benchmarks (RFC 2544)
_NEAR, _FAR = "lcbench0", "lcbench1"


def _tun(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN_WITHOUT_HEADER))
    return descriptor


def carry(holder: int, delay: float) -> None:
    """Make the two devices, one here and one in the namespace of process `holder`; then carry packets for ever."""
    libc = ctypes.CDLL(None, use_errno=True)
    near = _tun(_NEAR)
    with open("/proc/self/ns/net", "rb") as here, open(f"/proc/{holder}/ns/net", "rb") as there:
        for namespace in (there, here):
            if libc.setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), "setns")
            if namespace is there:
                far = _tun(_FAR)
    print("ready", flush=True)
    waiting: dict[int, deque[tuple[float, bytes]]] = {near: deque(), far: deque()}
    other = {near: far, far: near}
    while True:
        due = min((queue[0][0] for queue in waiting.values() if queue), default=None)
        pause = None if due is None else max(0.0, due - time.monotonic())
        for source in select.select([near, far], [], [], pause)[0]:
            while True:
                try:
                    packet = os.read(source, 65536)
                except BlockingIOError:
                    break
                waiting[other[source]].append((time.monotonic() + delay, packet))
        now = time.monotonic()
        for target, queue in waiting.items():
            while queue and queue[0][0] <= now:
                packet = queue.popleft()[1]
                # a device that is not up yet takes none: the packet is lost, as in any network
                with suppress(OSError):
                    os.write(target, packet)


def start(stack: ExitStack, hosts: int, round_trip: float) -> tuple[list[str], list[str]]:
    """The addresses of `hosts` hosts `round_trip` seconds away, and the words that start a program there.
    Raises CannotBenchmark where the machine has no way to do it."""
    if os.geteuid() != 0:
        raise CannotBenchmark("the slow network needs root, for a network namespace")
    if not os.path.exists("/dev/net/tun"):
        raise CannotBenchmark("the slow network needs /dev/net/tun, which this machine lacks")
    apt_install("iproute2", "ip")
    bound = ["setpriv", "--pdeathsig", "TERM"]
    holder = subprocess.Popen([*bound, "unshare", "--net", "sleep", "infinity"], start_new_session=True)
    stack.callback(stop, holder)
    own = os.readlink("/proc/self/ns/net")
    give_up = time.monotonic() + 5
    while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
        if holder.poll() is not None or time.monotonic() > give_up:
            raise CannotBenchmark("the slow network needs a network namespace, and unshare made none")
        time.sleep(0.01)
    carrier = subprocess.Popen(
        [*bound, sys.executable, "-P", "-m", "benchmarks.delay", str(holder.pid), str(round_trip / 2)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    stack.callback(stop, carrier)
    assert carrier.stdout is not None
    if carrier.stdout.readline() != b"ready\n":
        raise CannotBenchmark("the slow network needs two TUN devices, and the kernel made none")
    within = [shutil.which("nsenter") or "nsenter", "-t", str(holder.pid), "-n"]
    addresses = [f"{_NETWORK}.{100 + number}" for number in range(hosts)]
    there = ["lo up", f"{_FAR} up"]
    commands = [["ip", "addr", "add", f"{_NETWORK}.1/24", "dev", _NEAR], ["ip", "link", "set", _NEAR, "up"]]
    commands += [[*within, "ip", "addr", "add", f"{each}/24", "dev", _FAR] for each in addresses]
    commands += [[*within, "ip", "link", "set", *words.split()] for words in there]
    for words in commands:
        subprocess.run(words, check=True, capture_output=True)
    return addresses, within


def round_trip(address: str, port: int) -> float:
    """Seconds that a packet takes there and back, as the kernel's own TCP sees them: the median of some connects."""
    taken = []
    for _ in range(7):
        begin = time.monotonic()
        with socket.create_connection((address, port), timeout=10):
            taken.append(time.monotonic() - begin)
    return statistics.median(taken)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    carry(int(sys.argv[1]), float(sys.argv[2]))
