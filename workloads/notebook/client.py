"""A Jupyter client in a container of its own: executes what it is asked to, and a trivial cell again and again.

Orders on RUN_DIR/client.sock:
  {"op": "kernel", "connection_file": path}      another kernel; told {"event": "kernel", ms} once it has answered
  {"op": "execute", "id": n, "code": text}       told {"event": "executed", id, status, ename, evalue, ms}
  {"op": "probe", "every": seconds}              from now on a cell `1` so often, on an absolute schedule, whether
                                                 the last was answered or not; each answer told {"event": "probe", ms}
  {"op": "quiet"}                                no more of them; told {"event": "quiet", unanswered: [ms so far]}

Times are from sending a request until its reply on the shell channel. Environment: RUN_DIR.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import zmq
from jupyter_client.session import Session
from lines import Server

Purpose = tuple[str, "int | None"]
RUN_DIR = os.environ.get("RUN_DIR", "/run/notebook")


class Client:
    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._server = Server(os.path.join(RUN_DIR, "client.sock"), self._poller)
        self._session: Any = None
        self._shell: Any = None
        self._waiting: dict[str, tuple[Purpose, float]] = {}  # message id: (what it is for, when it was sent)
        self._every = 0.0
        self._due: float | None = None
        self._orders = {
            "kernel": self._connect,
            "execute": self._execute,
            "probe": self._probe,
            "quiet": self._quiet,
        }

    def serve(self) -> None:
        while True:
            timeout = 1000 if self._due is None else max(0, (self._due - time.monotonic()) * 1000)
            ready = dict(self._poller.poll(timeout))
            if self._shell in ready:
                self._replies()
            for order in self._server.orders(ready):
                self._orders[order.pop("op")](**order)
            while self._due is not None and time.monotonic() >= self._due:
                self._cell(("probe", None), "1")
                self._due += self._every

    def _send(self, purpose: Purpose, kind: str, content: dict[str, Any]) -> None:
        if self._shell is not None:
            message = self._session.send(self._shell, kind, content)
            self._waiting[message["header"]["msg_id"]] = (purpose, time.monotonic())

    def _cell(self, purpose: Purpose, code: str) -> None:
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
        self._send(purpose, "execute_request", {**content, "allow_stdin": False, "stop_on_error": False})

    def _replies(self) -> None:
        while True:
            _, reply = self._session.recv(self._shell)  # does not wait
            if reply is None:
                return
            known = self._waiting.pop(reply["parent_header"].get("msg_id"), None)
            if known is None:
                continue
            (kind, number), sent = known
            values = {"ms": (time.monotonic() - sent) * 1000}
            if kind == "executed":
                values.update(
                    {key: reply["content"].get(key) for key in ("status", "ename", "evalue")}, id=number
                )
            self._server.tell(kind, **values)

    # ------------------------------------------------------------ orders

    def _connect(self, connection_file: str) -> None:
        if self._shell is not None:
            self._poller.unregister(self._shell)
            self._shell.close(linger=0)
        self._waiting.clear()
        with open(connection_file) as stream:
            found = json.load(stream)
        self._session = Session(key=found["key"].encode(), signature_scheme=found["signature_scheme"])
        self._shell = zmq.Context.instance().socket(zmq.DEALER)
        self._shell.connect("%s://%s:%d" % (found["transport"], found["ip"], found["shell_port"]))
        self._poller.register(self._shell, zmq.POLLIN)
        self._send(("kernel", None), "kernel_info_request", {})

    def _execute(self, id: int, code: str) -> None:
        self._cell(("executed", id), code)

    def _probe(self, every: float) -> None:
        self._every, self._due = every, time.monotonic()

    def _quiet(self) -> None:
        self._due = None
        now = time.monotonic()
        sent = [at for (kind, _), at in self._waiting.values() if kind == "probe"]
        self._waiting = {key: one for key, one in self._waiting.items() if one[0][0] != "probe"}
        self._server.tell("quiet", unanswered=[(now - at) * 1000 for at in sent])


if __name__ == "__main__":
    Client().serve()
