"""The agent's processes: starting them, and who of them runs; agent_ending has how they are ended. Runs on the node:
standard library only, Python 3.8 syntax."""

from __future__ import annotations

import _thread
import posix
import time

from labctl.node.agent_spawn import ENVIRONMENT, Child

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Tuple

MARK = "LABCTL_COMMAND"


class Command:
    """A child of the agent, leader of a session of its own."""

    def __init__(self, child: Child, mark: str) -> None:
        self.child = child
        self.mark = mark
        self.pid = child.pid


class Processes:
    """All commands of one agent. Thread-safe."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._running: Dict[int, Command] = {}
        self._starting = 0
        self._calls = 0  # of functions, which start what they like
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
            self._starting += 1
            self._count += 1
            mark = "%s.%d" % (self._prefix, self._count)
        environment = {**self._environment, **(env or {}), MARK: mark}
        command = None
        try:
            command = Command(Child(argv, environment, cwd, has_stdin), mark)
        finally:
            with self._lock:
                self._starting -= 1
                if command:
                    self._running[command.pid] = command
        return command

    def ended(self, command: Command) -> None:
        with self._lock:
            self._running.pop(command.pid, None)

    def call_begins(self) -> None:
        with self._lock:
            self._calls += 1

    def call_ends(self) -> None:
        with self._lock:
            self._calls -= 1

    def close(self) -> bool:
        """Start no more. Whether there may be anything to end."""
        with self._lock:
            self._closing = True
            return bool(self._running or self._starting or self._calls)

    def running(self) -> Tuple[List[Command], bool]:
        """The commands that run, and whether more are being started."""
        with self._lock:
            return list(self._running.values()), self._starting > 0

    def calling(self) -> bool:
        return self._calls > 0
