"""The wall time, CPU, memory and child processes of this process, for run.json and RUN_END.

CPU seconds are differences of the kernel's cumulative counters (getrusage), so they are exact and need no
sampling. The peak resident size is the kernel's own high-water mark (VmHWM). Only the number of children
is sampled, once a second.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from typing import Any

_INTERVAL = 1.0


class CostMeter:
    """Counts from its creation; `report()` may be asked any number of times."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._own = _cpu(resource.RUSAGE_SELF)
        self._reaped = _cpu(resource.RUSAGE_CHILDREN)
        self._most_children = 0
        self._samples = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="labctl-cost", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        if self._stop.wait(_INTERVAL):
            return
        while True:
            self._most_children = max(self._most_children, _descendants())
            self._samples += 1
            if self._stop.wait(_INTERVAL):
                return

    def report(self) -> dict[str, Any]:
        """Seconds and bytes: wall_seconds, cpu_seconds, children_cpu_seconds (children that ended),
        peak_rss_bytes, peak_children (sampled at 1 Hz, None where the run was over before), threads."""
        return {
            "wall_seconds": round(time.monotonic() - self._began, 3),
            "cpu_seconds": round(_cpu(resource.RUSAGE_SELF) - self._own, 3),
            "children_cpu_seconds": round(_cpu(resource.RUSAGE_CHILDREN) - self._reaped, 3),
            "peak_rss_bytes": peak_rss(),
            "peak_children": self._most_children if self._samples else None,
            "threads": threading.active_count(),
        }

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)


def _descendants() -> int:
    """Processes below this one. Only where it has children is the whole of /proc read."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    import psutil

    return len(psutil.Process().children(recursive=True))


def _cpu(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def peak_rss() -> int:
    """Bytes. VmHWM belongs to this program image; ru_maxrss would also count what ran before exec."""
    try:
        with open("/proc/self/status", "rb") as status:  # as text it would need one more codec
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
