"""The program that speaks for a node: one process per (host, user), started over a plain byte pipe.

Runs on the node: standard library only, Python 3.8 syntax; it and the `agent_*` modules beside it travel as
source and need no labctl there. A frame is two big-endian 32-bit lengths, a JSON header and raw bytes.
Requests carry an `id`; replies to it come in any order. Threads take turns at reading: whoever has read a
frame lets the next one read and handles the frame itself, so a request meets no queue, and one that hangs
(a dead NFS server) holds up nobody. Who only waits for a command waits for the next frame as well, and lets
another read when it comes: commands that follow one another then need one thread, and no changes of threads.

The agent ends when its standard input does, on a signal, or after SILENCE seconds without a byte from the
controller, which pings more often than that (a cut cable ends nothing by itself). It then kills what it
still runs; see agent_ending for what that is.

Its start is a good part of a short run's CPU, so it imports what is written in C: `_thread` and `_signal` instead of
`threading` and `signal` (6 ms each), `posix` instead of `os` (2 ms), and what files need when the first is asked for.
"""

from __future__ import annotations

import _signal as signal
import _struct as struct
import _thread
import fcntl
import marshal
import posix
import select
import sys
import time
import zlib

from labctl.node.agent_commands import Commands, refusal
from labctl.node.agent_json import decode, encode
from labctl.node.agent_processes import Processes

SILENCE = 15.0
IDLE_THREADS = 4
LARGE = 1 << 16  # bytes of a body that are read without a copy

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from labctl.node.agent_transfers import Pieces

    Header = Dict[str, Any]
    Reply = Tuple[Header, bytes]
    Later = Callable[[List[str], bytes], None]  # takes modules that are made when they are imported


class Ended(BaseException):
    """The agent is to end; raised in the main thread by a signal."""


class Turn:
    """A thread's turn to read from `source`: it has it until it gives it to the next."""

    def __init__(self, source: int, pass_on: Callable[[], None]) -> None:
        self.source = source
        self.kept = True
        self._pass_on = pass_on

    def give(self) -> None:
        if self.kept:
            self.kept = False
            self._pass_on()


class Agent:
    def __init__(self, source: int, sink: int, later: Later) -> None:
        self._source = source
        self._sink = sink
        self._later = later
        self._reading = _thread.allocate_lock()
        self._writing = _thread.allocate_lock()
        self._counting = _thread.allocate_lock()
        self._waiting = 0  # threads, for their turn to read
        self._ending = False
        self._heard = time.monotonic()
        self._buffer = bytearray()
        self._transfers: Dict[int, Pieces] = {}  # by request, to those who handle it
        self._modules: Dict[str, Any] = {}
        self._processes = Processes()
        self._commands = commands = Commands(self._processes, self.send)
        self._operations: Dict[str, Callable[[Header, bytes], Reply]] = {
            "ping": lambda request, body: ({"time": time.time()}, b""),
            "each": commands.each,
            "start": commands.start,
            "cancel": commands.cancel,
            "call": self._call,
            "put": self._transfer,
            "get": self._transfer,
        }

    # ------------------------------------------------------------ frames

    def send(self, header: Header, body: bytes = b"") -> None:
        text = encode(header).encode()
        head = struct.pack(">II", len(text), len(body)) + text
        if self._ending:  # what is killed on the way out has no result of its own
            return
        with self._writing:
            sent = posix.writev(self._sink, (head, body)) - len(head)
            if sent < 0:
                self._write(memoryview(head)[sent:])
                sent = 0
            self._write(memoryview(body)[sent:])

    def _write(self, view: memoryview) -> None:
        while view:
            view = view[posix.write(self._sink, view) :]

    def _take(self, size: int) -> Optional[bytes]:
        if size >= LARGE:
            return self._take_large(size)
        while len(self._buffer) < size:
            data = posix.read(self._source, min(1 << 20, max(65536, size - len(self._buffer))))
            if not data:
                return None
            self._heard = time.monotonic()
            self._buffer += data
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return taken

    def _take_large(self, size: int) -> Optional[bytes]:
        taken = bytearray(size)
        at = min(size, len(self._buffer))
        taken[:at] = self._buffer[:at]
        del self._buffer[:at]
        view = memoryview(taken)
        while at < size:
            count = posix.readv(self._source, (view[at:],))
            if not count:
                return None
            self._heard = time.monotonic()
            at += count
        return taken  # type: ignore[return-value]  # as good as bytes to those who only read it

    def _read_frame(self) -> Optional[Tuple[Header, bytes]]:
        lengths = self._take(8)
        if lengths is None:
            return None
        head, tail = struct.unpack(">II", lengths)
        text = self._take(head)
        body = self._take(tail)
        if text is None or body is None:
            return None
        return decode(text), body

    # ------------------------------------------------------------ serving

    def _serve(self) -> None:
        while True:
            self._reading.acquire()
            with self._counting:
                self._waiting -= 1
            turn = Turn(self._source, self._pass_on)
            while turn.kept:
                try:
                    frame = self._read_frame()
                except (OSError, ValueError, MemoryError):  # the stream makes no sense any more
                    frame = None
                if frame is None:
                    self.end()
                    return
                pieces = self._transfers.get(frame[0]["id"])
                if pieces is not None:  # in order, hence before anybody else may read
                    pieces.put(frame)
                    continue
                if "op" not in frame[0]:
                    continue  # the rest of a transfer that failed
                if frame[0]["op"] == "later":
                    self._later(frame[0]["names"], frame[1])
                    continue
                if frame[0]["op"] in ("put", "get"):
                    self._begin_transfer(frame[0]["id"])
                self._handle(frame[0], frame[1], turn)
            with self._counting:
                if self._waiting >= IDLE_THREADS:
                    return
                self._waiting += 1

    def _pass_on(self) -> None:
        with self._counting:
            nobody = self._waiting == 0
            if nobody:
                self._waiting = 1
        if nobody:
            _thread.start_new_thread(self._serve, ())
        self._reading.release()

    def _handle(self, request: Header, body: bytes, turn: Turn) -> None:
        if request["op"] != "run" or self._buffer:
            turn.give()
        try:
            if request["op"] == "run":
                values, data = self._commands.run(request, body, turn)
            else:
                operation = self._operations.get(request["op"]) or self._of_files(request["op"])
                values, data = operation(request, body)
        except Exception as error:
            values, data = refusal(error), b""
        values["id"] = request["id"]
        if len(data) > LARGE:
            turn.give()
        try:
            self.send(values, data)
        except OSError:  # nobody listens any more
            self.end()

    def _of_files(self, name: str) -> Callable[[Header, bytes], Reply]:
        from labctl.node import agent_files

        self._operations.update(agent_files.OPERATIONS)
        return self._operations[name]

    def serve(self) -> None:
        """Until the connection ends. The main thread watches the clock."""
        woken, signalled = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        signal.set_wakeup_fd(signalled)  # one that comes just before the wait would not end it
        self._waiting = 1
        _thread.start_new_thread(self._serve, ())
        while True:
            select.select([woken], [], [], max(1.0, SILENCE - (time.monotonic() - self._heard)))
            if time.monotonic() - self._heard > SILENCE and not select.select([self._source], [], [], 0)[0]:
                return

    def end(self) -> None:
        self._ending = True
        try:
            if "labctl.node.agent_replace" in sys.modules:
                sys.modules["labctl.node.agent_replace"].abandon_all()
            if self._processes.close():
                from labctl.node.agent_ending import end_all

                end_all(self._processes)
        finally:
            posix._exit(0)  # noqa: SLF001

    # ------------------------------------------------------------ requests that need the agent

    def _call(self, request: Header, body: bytes) -> Reply:
        digest = request["hash"]
        if body:
            self._modules[digest] = self._load(
                request["module"], body, compiled=request.get("compiled", False)
            )
        if digest not in self._modules:  # it failed to load when it came
            return {"value": None, "unknown": True}, b""
        function = getattr(self._modules[digest], request["function"])
        self._processes.call_begins()
        try:
            return {"value": function(**request["arguments"])}, b""
        finally:
            self._processes.call_ends()

    def _load(self, name: str, body: bytes, compiled: bool) -> Any:
        """The function module in a body: its source, or the code of its siblings and its own."""
        file = "labctl/node/functions/%s.py" % name
        if not compiled:
            return self._execute("labctl_function_" + name, compile(body, file, "exec"), file)
        package = "labctl.node.functions"
        if package not in sys.modules:
            sys.modules[package] = type(sys)(package)
            sys.modules[package].__path__ = []
        *siblings, (_name, own) = marshal.loads(zlib.decompress(body))
        for whole, code in siblings:
            setattr(
                sys.modules[package], whole.rpartition(".")[2], self._execute(whole, code, code.co_filename)
            )
        return self._execute("labctl_function_" + name, own, file)

    @staticmethod
    def _execute(name: str, code: Any, file: str) -> Any:
        module = type(sys)(name)
        module.__dict__["__file__"] = file
        sys.modules[name] = module  # dataclasses and pickle look there
        exec(code, module.__dict__)
        return module

    def _begin_transfer(self, number: int) -> None:
        from _queue import SimpleQueue

        self._transfers[number] = SimpleQueue()

    def _transfer(self, request: Header, body: bytes) -> Reply:
        from labctl.node import agent_transfers

        pieces = self._transfers[request["id"]]
        try:
            return agent_transfers.OPERATIONS[request["op"]](request, pieces, self.send)
        finally:
            del self._transfers[request["id"]]


SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def _stop(*_: Any) -> None:
    for number in SIGNALS:  # a second one must not cut the killing short
        signal.signal(number, signal.SIG_IGN)
    raise Ended


def _can_stay() -> bool:
    """Whether what it runs may start where it was started: the user's home, or the playbook's folder."""
    try:
        return posix.access(posix.getcwd(), posix.R_OK | posix.X_OK)
    except OSError:
        return False


def main(later: Later) -> None:
    """Take over standard input and output: they belong to the protocol from here on."""
    source, sink = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    for name in posix.listdir("/proc/self/fd"):  # whatever sshd or sudo left open is not for commands
        if int(name) > 2:
            try:
                posix.set_inheritable(int(name), False)
            except OSError:  # the listing's own
                pass
    nothing = posix.open("/dev/null", posix.O_RDWR)
    posix.dup2(nothing, 0)
    posix.dup2(2, 1)
    posix.close(nothing)
    try:
        posix.setsid()
    except OSError:  # it leads its session already
        pass
    for number in SIGNALS:
        signal.signal(number, _stop)
    if not _can_stay():
        posix.chdir("/")
    agent = Agent(source, sink, later)
    hello = {"id": -1, "pid": posix.getpid(), "uid": posix.getuid(), "python": sys.version.split()[0]}
    try:
        agent.send(hello)
        agent.serve()
    except (Ended, OSError):
        pass
    finally:
        agent.end()
