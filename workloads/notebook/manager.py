"""The notebook's first process: starts the kernel as Jupyter does, and tells at once how one ends.

Orders on RUN_DIR/manager.sock: {"op": "start"}, a fresh kernel in place of what there is; {"op": "status"}. It
tells {"event": "started", pid, connection_file}, {"event": "status", pid, connection_file, death} and
{"event": "death", pid, signal, exit, mono}: the wait status itself, seen through the kernel's pidfd and left for
jupyter_client to collect. Process ids are those of this container.

Environment: RUN_DIR. Exit code 143 by TERM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import zmq
from jupyter_client import KernelManager
from lines import Server

RUN_DIR = os.environ.get("RUN_DIR", "/run/notebook")


class Kernel:
    """The kernel that runs now, or the last one and how it died."""

    def __init__(self) -> None:
        self._count = 0
        self._manager: Any = None
        self.connection_file: str | None = None
        self.pidfd: int | None = None
        self.pid: int = 0
        self.death: dict[str, Any] | None = None

    def start(self) -> None:
        """End the kernel that there is, with all it started, and start another."""
        self.end()
        self.pid, self.connection_file = self.launch()
        self.pidfd = os.pidfd_open(self.pid)
        self.death = None

    def end(self) -> None:
        if self.connection_file is None:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)  # what a dead kernel had started lives on in its group
        except ProcessLookupError:
            pass
        self.shut_down()
        self.connection_file = None
        self._close()

    def launch(self) -> tuple[int, str]:
        """Start one: its process, and the file that says how to connect."""
        self._count += 1
        path = os.path.join(RUN_DIR, "kernel-%d-%d.json" % (os.getpid(), self._count))
        self._manager = KernelManager(connection_file=path)
        self._manager.start_kernel(cwd=os.getcwd())
        return self._manager.provisioner.pid, path

    def shut_down(self) -> None:
        """Let Jupyter forget the one that was killed."""
        self._manager.shutdown_kernel(now=True)

    def ended(self) -> dict[str, Any]:
        """Look at how the kernel ended; its pidfd has said that it did."""
        self.death = {"pid": self.pid, "signal": None, "exit": None, "mono": time.monotonic()}
        try:
            found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # Jupyter was faster: its status is not known
            pass
        else:
            self.death["exit" if found.si_code == os.CLD_EXITED else "signal"] = found.si_status
        self._close()
        return self.death

    def _close(self) -> None:
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def described(self) -> dict[str, Any]:
        return {"pid": self.pid, "connection_file": self.connection_file}


def reap(kernel: int) -> None:
    """Collect orphans, as the first process of a container has to; the kernel is jupyter_client's."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == kernel:
            return
        os.waitpid(found.si_pid, os.WNOHANG)


def serve(kernel: Kernel) -> None:
    """Start a kernel, watch it and take orders, for ever."""
    poller = zmq.Poller()
    kernel.start()
    server = Server(os.path.join(RUN_DIR, "manager.sock"), poller)
    while True:
        watched = kernel.pidfd
        if watched is not None:
            poller.register(watched, zmq.POLLIN)
        ready = dict(poller.poll(1000))
        if watched is not None:
            poller.unregister(watched)
        if watched in ready:
            server.tell("death", **kernel.ended())
        for order in server.orders(ready):
            if order["op"] == "start":
                kernel.start()
                server.tell("started", **kernel.described())
            else:
                server.tell("status", death=kernel.death, **kernel.described())
        if kernel.death is None:
            reap(kernel.pid)


def main() -> None:
    kernel = Kernel()

    def stop(*_: object) -> None:
        kernel.end()
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    serve(kernel)


if __name__ == "__main__":
    main()
