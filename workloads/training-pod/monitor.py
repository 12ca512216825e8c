"""model-monitor: watches the pod and answers health and progress requests over HTTP.

GET /healthz -> ok. GET /progress -> {"step", "to", "completed": [names], "held", "boot", "wall"}: `step` and
`to` as the trainer published them last (null before that), `boot` this process, `wall` now.

A container counts as completed when its file in POD_DIR says so; or when COMPLETED (names, by comma)
names it and STATE_DIR holds the record of its completion, from wherever it ran before. What was
completed once stays so for the life of this process.

Environment: PORT; COMPLETED; WATCH_SECONDS between log lines; STATE_DIR; POD_DIR. Exit code 143 by TERM.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any

from podfiles import BOOT, POD_DIR, STATE_DIR, number, read_json, say

LONGEST_REQUEST = 8192
MOST_CONNECTIONS = 64
RECORDS = {"data-processor": "processor.done.json"}


class Progress:
    """What the pod's other containers published."""

    def __init__(self) -> None:
        self._completed: set[str] = set()
        named = os.environ.get("COMPLETED", "").split(",")
        self._claimed = {name.strip() for name in named} - {""}

    def read(self) -> dict[str, Any]:
        trainer = None
        try:
            names = os.listdir(POD_DIR)
        except OSError:
            names = []
        for name in names:
            if name == "progress.json":
                trainer = read_json(os.path.join(POD_DIR, name))
            elif name.endswith(".json"):
                self._note(read_json(os.path.join(POD_DIR, name)))
        for name in self._claimed - self._completed:
            if name in RECORDS:
                self._note(read_json(os.path.join(STATE_DIR, RECORDS[name])))
        trainer = trainer if isinstance(trainer, dict) else {}
        return {
            "step": trainer.get("step"),
            "to": trainer.get("to"),
            "held": trainer.get("held", False),
            "completed": sorted(self._completed),
            "boot": BOOT,
            "wall": time.time(),
        }

    def _note(self, record: Any) -> None:
        if isinstance(record, dict) and record.get("completed") is True and record.get("name"):
            self._completed.add(record["name"])


class Server:
    """One thread, no fork: an answer costs the pod a fraction of a millisecond."""

    def __init__(self, port: int, progress: Progress) -> None:
        self._progress = progress
        self._selector = selectors.DefaultSelector()
        self._pending: dict[socket.socket, bytes] = {}
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("0.0.0.0", port))
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def serve(self, seconds: float) -> None:
        """Answer what comes within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            for key, _ in self._selector.select(max(0.0, left)):
                if isinstance(key.data, socket.socket):
                    self._receive(key.data)
                else:
                    self._accept()
            if left <= 0:
                return

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._pending) >= MOST_CONNECTIONS:
            self._close(next(iter(self._pending)))
        self._pending[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ, connection)
        self._receive(connection)

    def _receive(self, connection: socket.socket) -> None:
        if connection not in self._pending:  # closed for a newer one in this round
            return
        try:
            data = connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        request = self._pending[connection] + data
        if not data or len(request) > LONGEST_REQUEST:
            self._close(connection)
            return
        while b"\r\n\r\n" in request:
            head, request = request.split(b"\r\n\r\n", 1)
            if not self._answer(connection, head):
                self._close(connection)
                return
        self._pending[connection] = request

    def _answer(self, connection: socket.socket, head: bytes) -> bool:
        """Send the answer; whether the connection stays open."""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            status, kind, body = "400 Bad Request", "text/plain", b"not HTTP/1.x\n"
        elif words[0] != "GET":
            status, kind, body = "405 Method Not Allowed", "text/plain", b"only GET\n"
        else:
            status, kind, body = self._page(words[1].split("?")[0])
        close = words[-1] != "HTTP/1.1" or any(
            line.lower().replace(" ", "") == "connection:close" for line in lines[1:]
        )
        answer = "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n" % (
            status,
            kind,
            len(body),
            "close" if close else "keep-alive",
        )
        try:
            connection.sendall(answer.encode() + body)
        except OSError:
            return False
        return not close

    def _page(self, path: str) -> tuple[str, str, bytes]:
        if path == "/healthz":
            return "200 OK", "text/plain", b"ok\n"
        if path == "/progress":
            return "200 OK", "application/json", json.dumps(self._progress.read()).encode() + b"\n"
        return "404 Not Found", "text/plain", b"there are /healthz and /progress\n"

    def _close(self, connection: socket.socket) -> None:
        del self._pending[connection]
        self._selector.unregister(connection)
        connection.close()


def main() -> int:
    def stop(*_: object) -> None:
        say("stop", signal=15, wall=time.time())
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    progress, every = Progress(), number("WATCH_SECONDS", 5.0)
    try:
        server = Server(number("PORT", 8080), progress)
    except OSError as error:
        say("error", error="cannot listen: %s" % error, wall=time.time())
        return 1
    say("start", port=server.port, wall=time.time())
    last_step = None
    while True:
        server.serve(every)
        found = progress.read()
        rate = (found["step"] - last_step) / every if None not in (found["step"], last_step) else None
        last_step = found["step"]
        say("watch", step=last_step, steps_per_second=rate, completed=found["completed"], wall=time.time())


if __name__ == "__main__":
    sys.exit(main())
