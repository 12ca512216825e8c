"""The agent's processes: starting them, and finding and killing everything a running one started.

Runs on the node: standard library only, Python 3.8 syntax. Who belongs to a command, found in one pass
over /proc: its session and process group, whoever descends from it, and whoever carries its mark in the
environment it was started with (a process that left by setsid and whose parent has ended; the agent
is a child subreaper, so it stays reachable). What a command that has ended left behind is nobody's.
"""

from __future__ import annotations

import _signal as signal
import _thread
import posix
import time

from labctl.node.agent_spawn import ENVIRONMENT, Child

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Set

MARK = "LABCTL_COMMAND"
PR_SET_CHILD_SUBREAPER = 36
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


class Command:
    """A child of the agent, leader of a session of its own."""

    def __init__(self, child: Child, mark: str) -> None:
        self.child = child
        self.mark = mark
        self.pid = child.pid
        self.cancelled = False

    def end(self, grace: float = GRACE, patience: float = 4.0) -> None:
        """SIGTERM to all it started, SIGKILL to what is left after `grace` seconds, again and again until
        nothing is left or `patience` seconds are over (a process in uninterruptible sleep)."""
        self.cancelled = True
        started = time.monotonic()
        number = signal.SIGTERM
        alive = members(self.pid, self.mark)
        while alive and time.monotonic() - started < patience:
            if time.monotonic() - started >= grace:
                number = signal.SIGKILL
            send_signal(alive, number)
            if number == signal.SIGTERM:
                self._wait_until_gone(alive, started + grace)
            else:
                time.sleep(0.005)
            alive = members(self.pid, self.mark)

    @staticmethod
    def _wait_until_gone(pids: Set[int], until: float) -> None:
        pause = 0.002
        while time.monotonic() < until:
            table = processes()
            if not any(pid in table and table[pid].state not in "ZX" for pid in pids):
                return
            time.sleep(pause)
            pause = min(0.05, pause * 2)


class Processes:
    """All commands of one agent. Thread-safe."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._running: Dict[int, Command] = {}
        self._busy = 0  # spawns and calls under way: their children are not ours to reap
        self._calls = 0
        self._count = 0
        self._closing = False
        self._environment = ENVIRONMENT
        self._prefix = "%d.%d" % (posix.getpid(), time.monotonic_ns())

    def spawn(
        self, argv: Sequence[str], env: Optional[Dict[str, str]], cwd: Optional[str], has_stdin: bool
    ) -> Command:
        with self._lock:
            if self._closing:
                raise OSError("the agent is ending")
            self._busy += 1
            self._count += 1
            mark = "%s.%d" % (self._prefix, self._count)
        environment = {**self._environment, **(env or {}), MARK: mark}
        command = None
        try:
            command = Command(Child(argv, environment, cwd, has_stdin), mark)
        finally:
            with self._lock:
                self._busy -= 1
                if command:
                    self._running[command.pid] = command
        return command

    def ended(self, command: Command) -> None:
        with self._lock:
            self._running.pop(command.pid, None)

    def call_begins(self) -> None:
        with self._lock:
            self._busy += 1
            self._calls += 1

    def call_ends(self) -> None:
        with self._lock:
            self._busy -= 1
            self._calls -= 1

    def reap(self) -> None:
        """Collect ended processes that were handed to the agent as subreaper. Never one whose status
        somebody waits for."""
        with self._lock:
            while not self._busy:
                try:
                    info = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
                    if info is None or info.si_pid in self._running:
                        return
                    posix.waitpid(info.si_pid, posix.WNOHANG)
                except OSError:
                    return

    def kill_all(self, patience: float = 4.0) -> None:
        """End everything that still runs, on the way out: the connection is gone."""
        with self._lock:
            self._closing = True
            if not self._running and not self._busy:
                return
        import threading

        until = time.monotonic() + patience
        done: Set[int] = set()
        while time.monotonic() < until:
            with self._lock:
                todo = [one for one in self._running.values() if one.pid not in done]
                starting = self._busy > self._calls
            threads = [threading.Thread(target=one.end, daemon=True) for one in todo]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
            done.update(one.pid for one in todo)
            if not todo and not starting:
                break
            time.sleep(0 if todo else 0.01)
        if self._calls:
            self._kill_children_of_calls()

    def _kill_children_of_calls(self) -> None:
        # a function's own subprocesses are in the agent's session, commands are not
        table, session = processes(), posix.getsid(0)
        mates: List[int] = [pid for pid, one in table.items() if one.session == session]
        send_signal(_with_descendants(set(mates) - {posix.getpid()}, table), signal.SIGKILL)


def become_subreaper() -> bool:
    """Let orphans of commands be handed to the agent instead of to init. False where that cannot be."""
    try:
        import _ctypes  # what `ctypes` wraps: its own import costs 4 ms

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
        return bool(_ctypes.call_function(prctl, (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0)
    except (ImportError, OSError, AttributeError):
        return False
