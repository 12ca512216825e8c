"""The agent's `run` and `start`: a process, its pipes, its time limit. On the node: standard library only,
Python 3.8 syntax."""

from __future__ import annotations

import _signal as signal
import posix
import select
import sys
import time

from labctl.node.agent_processes import Command, Processes
from labctl.node.agent_spawn import text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from labctl.node.agent import Turn

    Send = Callable[[Dict[str, Any], bytes], None]

KEPT = 1 << 20  # bytes of output held back on the node before they are sent on
LITTLE = 4096  # bytes of output that are sent without a wait, unless the controller is gone
SHORT = 0.02  # seconds a command may take before its end is watched for apart from that of its output
HELD_OPEN = 0.1  # seconds to wait for more output once the command has ended but its pipes are open
# What a command may be asked for with that can be started at once; looking at a folder first may hang.
_DIRECT = frozenset(("id", "op", "argv", "timeout", "stream"))
PROGRAM = (
    "import sys\nsys.argv[:] = sys.argv[1:]\nexec(compile(sys.stdin.buffer.read(), sys.argv[0], 'exec'))"
)


def unnecessary(request: Dict[str, Any]) -> Optional[str]:
    """Why `creates` or `removes` makes the command unnecessary, or None."""
    creates, removes = request.get("creates"), request.get("removes")
    if creates and _matches(creates):
        return "%s exists" % creates
    if removes and not _matches(removes):
        return "%s does not exist" % removes
    return None


def _matches(pattern: str) -> bool:
    if not any(character in pattern for character in "*?["):
        try:
            posix.lstat(pattern)
        except (OSError, ValueError):
            return False
        return True
    import glob

    return any(True for _ in glob.iglob(pattern))


def refusal(error: Exception) -> Dict[str, Any]:
    """The answer where something could not be done."""
    if not isinstance(error, OSError):
        return {"error": "%s: %s" % (type(error).__name__, error), "errno": None}
    import errno

    path = text(error.filename) if isinstance(error.filename, bytes) else error.filename
    name = errno.errorcode.get(error.errno or 0)
    return {
        "error": error.strerror or str(error),
        "errno": name,
        "path": path if isinstance(path, str) else None,
    }


class Commands:
    """Runs commands for the agent: one call of a method per request, each in its own thread."""

    def __init__(self, processes: Processes, send: Send) -> None:
        self._processes = processes
        self._send = send
        self._by_request: Dict[int, Command] = {}
        self._series: Dict[int, bool] = {}  # of commands, by request: whether it is to go on

    def run(
        self, request: Dict[str, Any], body: bytes, turn: Optional[Turn] = None
    ) -> Tuple[Dict[str, Any], bytes]:
        """`turn` is given away before anything that may take long without a look at what comes meanwhile."""
        if turn and (body or not _DIRECT.issuperset(request)):
            turn.give()
        reason = unnecessary(request)
        now = time.time()
        if reason:
            return {"rc": 0, "start": now, "end": now, "skipped": reason, "split": 0}, b""
        command = self._processes.spawn(request["argv"], request.get("env"), request.get("cwd"), bool(body))
        return self._finish(command, request, body, now, turn)

    def each(self, request: Dict[str, Any], body: bytes) -> Tuple[Dict[str, Any], bytes]:
        """One command after the other; what comes of each is sent as it ends."""
        number, at = request["id"], 0
        self._series[number] = True
        try:
            for one in request["commands"]:
                if not self._series[number]:
                    break
                one["id"], size = number, one["stdin"]
                try:
                    values, data = self.run(one, body[at : at + size])
                except Exception as error:
                    values, data = refusal(error), b""
                values["id"] = number
                self._send(values, data)
                at += size
        finally:
            del self._series[number]
        return {"ended": True}, b""

    def start(self, request: Dict[str, Any], body: bytes) -> Tuple[Dict[str, Any], bytes]:
        argv = [sys.executable or "python3", "-u", "-c", PROGRAM, request["name"]]
        now = time.time()
        command = self._processes.spawn(argv + request["arguments"], None, None, True)
        return self._finish(command, request, body, now)

    def cancel(self, request: Dict[str, Any], body: bytes) -> Tuple[Dict[str, Any], bytes]:
        """End what request `target` runs. With `grace` it first has that many seconds after a SIGTERM."""
        if request["target"] in self._series:
            self._series[request["target"]] = False
        command = self._by_request.get(request["target"])
        if command:
            from labctl.node.agent_ending import end

            grace = request.get("grace", 1.0)
            if grace > 1.0:  # a program that is asked to stop: its children are its own business
                try:
                    posix.kill(command.pid, signal.SIGTERM)
                except OSError:
                    pass
                until = time.monotonic() + grace
                while time.monotonic() < until and request["target"] in self._by_request:
                    time.sleep(0.005)
            if request["target"] in self._by_request:
                end(command)
        return {"found": command is not None}, b""

    def _finish(
        self,
        command: Command,
        request: Dict[str, Any],
        body: bytes,
        start: float,
        turn: Optional[Turn] = None,
    ) -> Tuple[Dict[str, Any], bytes]:
        self._by_request[request["id"]] = command
        pump = Pump(command, body, request, self._send, turn)
        try:
            timed_out = pump.work(request.get("timeout"))
            rc = pump.status()
        finally:
            self._by_request.pop(request["id"], None)
            self._processes.ended(command)
            pump.close()
        out, err = pump.take(1), pump.take(2)
        values = {"rc": rc, "start": start, "end": time.time(), "timed_out": timed_out, "split": len(out)}
        return values, out + err


class Pump:
    """Moves the bytes of one command until it ends. Output goes out at once when the request says
    `stream`, else it is kept and goes out with the result."""

    def __init__(
        self, command: Command, stdin: bytes, request: Dict[str, Any], send: Send, turn: Optional[Turn] = None
    ) -> None:
        self._command = command
        self._child = command.child
        self._stdin = memoryview(stdin)
        self._id = request["id"]
        self._stream = bool(request.get("stream"))
        self._send = send
        self._kept: Dict[int, List[bytes]] = {1: [], 2: []}
        self._size = 0
        self._poll = select.poll()
        self._streams: Dict[int, int] = {}
        self._pidfd = -1
        self._pause = SHORT  # seconds until the next look at the command
        for number, fd in enumerate(self._child.streams):
            if fd >= 0:
                self._streams[fd] = number
                self._poll.register(fd, select.POLLIN if number else select.POLLOUT)
        self._turn = turn if turn and turn.kept else None
        if self._turn:
            self._poll.register(self._turn.source, select.POLLIN)

    def work(self, timeout: Optional[float]) -> bool:
        """Until the command has ended and its output is read. True when `timeout` seconds were not enough."""
        until = None if timeout is None else time.monotonic() + timeout
        timed_out = False
        give_up: Optional[float] = None
        while self._reading():
            wait = self._pause
            for limit in (until, give_up):
                if limit is not None:
                    wait = min(wait, limit - time.monotonic())
            events = self._poll.poll(max(0.0, wait) * 1000)
            now = time.monotonic()
            if until is not None and now >= until:
                timed_out, until = True, None
                self._give_turn()
                self._end()
                give_up = time.monotonic() + HELD_OPEN
                continue
            for fd, _ in events:
                if fd in self._streams:
                    self._move(fd)
                elif self._turn and fd == self._turn.source:
                    self._give_turn()
            if give_up is None and self._has_ended():
                give_up = now + HELD_OPEN  # whoever it left behind may hold the pipes for ever
            elif give_up is not None and now >= give_up:
                break
            elif give_up is None and self._pause == SHORT and not (events and self._streams):
                self._watch()
            if self._size > KEPT:
                self._stream = True
                self._flush()
            elif self._stream and self._size and give_up is None:  # the last goes with the result
                self._flush()
        return timed_out

    def _watch(self) -> None:
        """Wait for the command's end as well: it takes its time, or has closed its output."""
        self._pause = 0.05
        if hasattr(posix, "pidfd_open"):
            try:
                self._pidfd = posix.pidfd_open(self._command.pid)
                self._poll.register(self._pidfd, select.POLLIN)
                self._pause = 3600.0
            except OSError:  # a kernel before 5.3, or it has ended
                pass

    def _end(self) -> None:
        from labctl.node.agent_ending import end

        end(self._command)

    def _give_turn(self) -> None:
        if self._turn:
            self._poll.unregister(self._turn.source)
            self._turn.give()
            self._turn = None

    def _reading(self) -> bool:
        return any(number for number in self._streams.values()) or not self._has_ended()

    def _has_ended(self) -> bool:
        if self._child.poll() is None:
            return False
        if self._pidfd >= 0:
            self._poll.unregister(self._pidfd)
            posix.close(self._pidfd)
            self._pidfd = -1
        return True

    def _move(self, fd: int) -> None:
        number = self._streams[fd]
        try:
            if number == 0:
                self._stdin = self._stdin[posix.write(fd, self._stdin[:65536]) :]
                if not self._stdin:
                    self._forget(fd)
                return
            data = posix.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:  # it closed its end
            data = b""
        if number == 0 or not data:
            self._forget(fd)
            return
        self._kept[number].append(data)
        self._size += len(data)

    def _flush(self) -> None:
        if self._size > LITTLE:
            self._give_turn()
        for number in (1, 2):
            data = self.take(number)
            if data:
                self._send({"id": self._id, "out": number}, data)
        self._size = 0

    def take(self, number: int) -> bytes:
        data = b"".join(self._kept[number])
        self._kept[number] = []
        return data

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._child.close(self._streams.pop(fd))

    def status(self) -> int:
        """Exit status, -N for signal N; -9 for one that not even SIGKILL could end within its patience."""
        code = self._child.poll()
        return -signal.SIGKILL if code is None else code

    def close(self) -> None:
        for fd in list(self._streams):
            self._forget(fd)
        if self._pidfd >= 0:
            posix.close(self._pidfd)
            self._pidfd = -1
