"""A worker process: opens SSH connections for the controller and relays bytes between its sockets and the agents.

`python -m labctl.ssh.relay_worker DESCRIPTOR`, where that is a socket to the controller. The worker ends with it."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import traceback
from collections import defaultdict

from labctl.errors import LabctlError
from labctl.ssh import transport as _paramiko  # noqa: F401 - loads while nobody waits for a host yet
from labctl.ssh.kept import Kept
from labctl.ssh.relay import FAILED, PIECE, STARTED
from labctl.ssh.relay_loop import STUCK, Loop
from labctl.ssh.settings import ConnectionSettings

_GOODBYE = 3.0  # seconds to close all transports


class _Worker:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._loop = Loop()
        self._kept: defaultdict[ConnectionSettings, Kept] = defaultdict(Kept)

    def serve(self) -> None:
        """Do what the controller asks until it is gone."""
        self._control.settimeout(STUCK)
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, 1 << 18, 1, socket.MSG_CMSG_CLOEXEC)
            except TimeoutError:
                self._loop.free()
                continue
            except ConnectionResetError:
                return
            if not data:
                return
            what, settings, line = pickle.loads(data)  # noqa: S301 - labctl itself wrote it
            kept = self._kept[settings]
            if what == "open":
                self._background(self._open, socket.socket(fileno=fds[0]), kept, settings, line)
            else:
                self._background(kept.close)

    @staticmethod
    def _background(work: object, *given: object) -> None:
        threading.Thread(target=work, args=given, daemon=True).start()  # type: ignore[arg-type]

    def _open(self, end: socket.socket, kept: Kept, settings: ConnectionSettings, line: str) -> None:
        try:
            with kept.lock:
                channel = kept.execute(settings, line)
        except Exception as error:
            with end:
                _say(end, FAILED + _pickled(error))
            return
        if _say(end, STARTED):
            self._loop.add(end, channel)
        else:
            channel.close()

    def close(self) -> None:
        for kept in list(self._kept.values()):
            kept.close()


def _say(end: socket.socket, message: bytes) -> bool:
    """Whether the controller still listens."""
    try:
        end.send(message)
    except OSError:
        return False
    return True


def _pickled(error: Exception) -> bytes:
    """An error of labctl's whole; of any other what is needed to find it."""
    if not isinstance(error, LabctlError):
        error = RuntimeError("".join(traceback.format_exception(error))[-PIECE // 2 :])
    return pickle.dumps(error)


def main() -> None:
    # handlers, as what is ignored would stay so in a ProxyCommand
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    worker = _Worker(socket.socket(fileno=int(sys.argv[1])))
    worker.serve()
    last = threading.Timer(_GOODBYE, os._exit, [0])
    last.daemon = True
    last.start()
    worker.close()
    os._exit(0)


if __name__ == "__main__":
    main()
