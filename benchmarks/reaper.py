"""Runs one command and says what it and everything it started took. A process of its own, stdlib only:

    python -I -S reaper.py REPORT OUTPUT ARGV...

REPORT becomes JSON: `rc`, `wall` (seconds until the command itself ended), `user`, `system` (CPU seconds of all its
processes, those it left behind included), `rss` (bytes, its largest process), `memory` (bytes, the highest sampled sum of its
processes' proportional set sizes, or null), `left` (how many processes it left behind; they are ended)."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from typing import Any

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: what the command leaves behind becomes a child of this process
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_DUTY = 0.01  # sampling may cost this part of one processor


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as stream:
                found += [int(word) for word in stream.read().split()]
    except OSError:
        pass
    return found


def _tree(pid: int) -> list[int]:
    below = [child for one in _children(pid) for child in _tree(one)]
    return [pid, *below]


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as stream:
            for line in stream:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class _Memory(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest = 0
        self.ended = threading.Event()

    def run(self) -> None:
        pause = 0.05
        while not self.ended.wait(pause):
            begin = time.thread_time()
            processes = [one for child in _children(os.getpid()) for one in _tree(child)]
            self.highest = max(self.highest, sum(map(_proportional, processes)))
            pause = max(0.05, (time.thread_time() - begin) / _DUTY)


def _end_what_is_left() -> tuple[int, float, float]:
    """How many processes were left behind, and their user and system CPU seconds."""
    count, user, system = 0, 0.0, 0.0
    give_up = time.monotonic() + 5
    while left := _children(os.getpid()):
        for pid in left:
            try:
                os.kill(pid, signal.SIGTERM if time.monotonic() < give_up else signal.SIGKILL)
            except ProcessLookupError:
                continue
        pid, _, usage = os.wait4(-1, os.WNOHANG)
        if pid:
            count, user, system = count + 1, user + usage.ru_utime, system + usage.ru_stime
        else:
            time.sleep(0.005)
    return count, user, system


def _give_up(number: int, _frame: Any) -> None:
    _end_what_is_left()
    os._exit(128 + number)


def main(report: str, output: str, *argv: str) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    memory = _Memory()
    with open(output, "wb") as out, open(os.devnull, "rb") as nothing:
        given = [
            (os.POSIX_SPAWN_DUP2, source.fileno(), target)
            for source, target in ((nothing, 0), (out, 1), (out, 2))
        ]
        signal.signal(signal.SIGTERM, _give_up)
        begin = time.monotonic()
        child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=given)
        memory.start()
        _, status, usage = os.wait4(child, 0)
        wall = time.monotonic() - begin
    memory.ended.set()
    left, user, system = _end_what_is_left()
    result = {
        "rc": os.waitstatus_to_exitcode(status),
        "wall": wall,
        "user": usage.ru_utime + user,
        "system": usage.ru_stime + system,
        "rss": usage.ru_maxrss * 1024,
        "memory": memory.highest or None,
        "left": left,
    }
    with open(report, "w", encoding="ascii") as stream:
        json.dump(result, stream)


if __name__ == "__main__":
    main(*sys.argv[1:])
