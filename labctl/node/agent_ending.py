"""Finding and ending everything a command, or a whole agent, has started. Runs on the node: standard library only, Python
3.8 syntax; it travels with the agent but is made only when something is to be ended.

Who belongs to a command, found in one pass over /proc: its session and process group, whoever descends from it, and whoever
carries its mark in the environment it was started with (a process that left by setsid and whose parent has ended). What a
command that has ended left behind is nobody's."""

from __future__ import annotations

import _signal as signal
import posix
import threading
import time

from labctl.node.agent_processes import MARK

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Dict, List, Set

    from labctl.node.agent_processes import Command, Processes

GRACE = 1.0  # seconds between SIGTERM and SIGKILL for what is ended by force


class Process:
    """What the kernel says of one process; `state` is its letter in /proc (Z: zombie)."""

    __slots__ = ("group", "parent", "session", "state")

    def __init__(self, parent: int, group: int, session: int, state: str) -> None:
        self.parent = parent
        self.group = group
        self.session = session
        self.state = state


def processes() -> Dict[int, Process]:
    """Every process of the node by its id; one that ends meanwhile is left out."""
    found = {}
    for name in posix.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as stream:
                fields = stream.read().rpartition(b")")[2].split()
        except OSError:
            continue
        found[int(name)] = Process(int(fields[1]), int(fields[2]), int(fields[3]), fields[0].decode())
    return found


def _environment_of(pid: int) -> bytes:
    try:
        with open("/proc/%d/environ" % pid, "rb") as stream:
            return b"\0" + stream.read() + b"\0"
    except OSError:
        return b""


def members(pid: int, mark: str) -> Set[int]:
    """Living processes of one command: the ids, without the agent itself."""
    table = processes()
    needle = ("\0%s=%s\0" % (MARK, mark)).encode()
    found = {
        one
        for one, process in table.items()
        if pid in (one, process.session, process.group) or needle in _environment_of(one)
    }
    return _with_descendants(found, table)


def _with_descendants(found: Set[int], table: Dict[int, Process]) -> Set[int]:
    grown = True
    while grown:
        grown = False
        for one, process in table.items():
            if process.parent in found and one not in found:
                found.add(one)
                grown = True
    found.discard(posix.getpid())
    return {one for one in found if one in table and table[one].state not in "ZX"}


def send_signal(pids: Set[int], number: int) -> None:
    for pid in pids:
        try:
            posix.kill(pid, number)
        except OSError:  # gone, or not ours to end
            continue


def end(command: Command, grace: float = GRACE, patience: float = 4.0) -> None:
    """SIGTERM to all it started, SIGKILL to what is left after `grace` seconds, again and again until
    nothing is left or `patience` seconds are over (a process in uninterruptible sleep)."""
    started = time.monotonic()
    number = signal.SIGTERM
    alive = members(command.pid, command.mark)
    while alive and time.monotonic() - started < patience:
        if time.monotonic() - started >= grace:
            number = signal.SIGKILL
        send_signal(alive, number)
        if number == signal.SIGTERM:
            _wait_until_gone(alive, started + grace)
        else:
            time.sleep(0.005)
        alive = members(command.pid, command.mark)


def _wait_until_gone(pids: Set[int], until: float) -> None:
    pause = 0.002
    while time.monotonic() < until:
        table = processes()
        if not any(pid in table and table[pid].state not in "ZX" for pid in pids):
            return
        time.sleep(pause)
        pause = min(0.05, pause * 2)


def end_all(mine: Processes, patience: float = 4.0) -> None:
    """Everything that still runs, on the way out: the connection is gone."""
    until = time.monotonic() + patience
    done: Set[int] = set()
    while time.monotonic() < until:
        running, starting = mine.running()
        todo = [one for one in running if one.pid not in done]
        threads = [threading.Thread(target=end, args=(one,), daemon=True) for one in todo]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        done.update(one.pid for one in todo)
        if not todo and not starting:
            break
        time.sleep(0 if todo else 0.01)
    if mine.calling():
        _end_children_of_calls()


def _end_children_of_calls() -> None:
    # a function's own subprocesses are in the agent's session, commands are not
    table, session = processes(), posix.getsid(0)
    mates: List[int] = [pid for pid, one in table.items() if one.session == session]
    send_signal(_with_descendants(set(mates) - {posix.getpid()}, table), signal.SIGKILL)
