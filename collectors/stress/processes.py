"""Tying processes to one another, so that none outlives the one that started it, and what the kernel knows of them."""

from __future__ import annotations

import os
import signal
import time

PR_SET_PDEATHSIG = 1


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Let the kernel send this process a signal when `parent` ends, however it does. Where there is no prctl, the
    caller has to look at os.getppid() now and then."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass
    if os.getppid() != parent:  # it had ended before the kernel was asked
        os._exit(1)


def offer_to_the_oom_killer() -> None:
    """When the node's own memory runs out, a stressor goes first."""
    try:
        with open("/proc/self/oom_score_adj", "w") as stream:
            stream.write("1000")
    except OSError:  # a kernel, or a container, that does not let us
        pass


def cpu_seconds(pid: int) -> float | None:
    """CPU seconds of a process and its threads since it began, to the nanosecond; None when it is gone. The clock's
    number is MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of Linux' posix-timers.h, as clock_getcpuclockid(3) has it."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def descendants(pid: int) -> list[int]:
    """A process and all that descend from it and live."""
    found = [pid]
    for one in found:
        try:
            tasks = os.listdir("/proc/%d/task" % one)
            for task in tasks:
                with open("/proc/%d/task/%s/children" % (one, task)) as stream:
                    found += [int(word) for word in stream.read().split()]
        except OSError:
            continue
    return found


def how_it_ended(status: int) -> dict[str, int]:
    """A wait status as {"signal": n} or {"exit": n}."""
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"exit": os.WEXITSTATUS(status)}
