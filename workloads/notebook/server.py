"""The notebook's first process where a Jupyter Server is asked for: the server, and the manager beside it.

The server runs in the main thread, as it wants to; the manager (manager.py, the same orders and events) in another. It
starts and ends kernels through the server's REST interface, as a browser does. They are children of this process,
so their wait status is seen here. The server does not restart a dead kernel by itself: who measures its death does.

Environment: RUN_DIR, PORT (127.0.0.1, of the pod). Exit code 143 by TERM.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from typing import Any

from manager import RUN_DIR, Kernel, serve

PORT = int(os.environ.get("PORT", "8888"))
os.environ["JUPYTER_RUNTIME_DIR"] = RUN_DIR  # where the client's container sees how to connect


class ServedKernel(Kernel):
    """A kernel of the server."""

    def __init__(self, app: Any, token: str) -> None:
        super().__init__()
        self._app, self._token, self._id = app, token, ""

    def launch(self) -> tuple[int, str]:
        self._id = self._ask("POST", "", {"name": "python3"})["id"]
        kernel = self._app.kernel_manager.get_kernel(self._id)
        return kernel.provisioner.pid, kernel.connection_file

    def shut_down(self) -> None:
        self._ask("DELETE", "/" + self._id)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            "http://127.0.0.1:%d/api/kernels%s" % (PORT, path),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "token " + self._token, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def wait_for_server(self) -> None:
        while True:
            try:
                self._ask("GET", "")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
            else:
                return


def manage(kernel: ServedKernel) -> None:
    try:
        kernel.wait_for_server()
        serve(kernel)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # a server that nobody manages is no notebook


def main() -> None:
    from jupyter_server.serverapp import ServerApp

    token = secrets.token_hex(16)
    app = ServerApp.instance()
    options = ["--ip=127.0.0.1", "--port=%d" % PORT, "--no-browser", "--allow-root", "--log-level=WARN"]
    options += [
        "--ServerApp.port_retries=0",
        "--ServerApp.token=" + token,
        "--KernelManager.autorestart=False",
    ]
    app.initialize(options)
    threading.Thread(target=manage, args=(ServedKernel(app, token),), daemon=True).start()
    app.start()
    sys.exit(143)


if __name__ == "__main__":
    main()
