"""The same loads by stress-ng, where it is installed: one stress-ng for each stressor, its operations counted by itself.

It is told not to shield itself from the OOM killer (as root it would, and a neighbour died in its place) and not to begin
again with a worker that was killed. Its work is known only when it ends. Not for disks: killed, it leaves folders behind.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile

from stress.processes import end_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stress.board import Slot

PROGRAM = "stress-ng"
METHODS = {"integer": "int64", "matrix": "matrixprod"}


def arguments(name: str, options: dict[str, Any], result: int) -> list[str]:
    """Its command line for one stressor; `result` is the descriptor that its figures go to."""
    workers = str(options["workers"])
    own = {
        "cpu": lambda: [
            *("--cpu", workers, "--cpu-load", "%g" % (options["load"] * 100)),
            *("--cpu-method", METHODS[options["method"]]),
        ],
        # It divides the bytes among its workers (0.15.06); a worker here has the bytes it was asked for.
        "memory": lambda: [
            *("--vm", workers, "--vm-bytes", "%d" % (options["size"] * options["workers"])),
            *("--vm-keep", "--vm-populate"),
        ],
    }[name]()
    common = ["--timeout", "0", "--oomable", "--no-oom-adjust", "--metrics-brief"]
    return [
        PROGRAM,
        *own,
        *common,
        "--temp-path",
        tempfile.gettempdir(),
        "--yaml",
        "/proc/self/fd/%d" % result,
    ]


class StressNg:
    """A worker that runs stress-ng and, told to end, lets it say what it has done. What it writes is only in memory."""

    unit = "bogo operations"
    ended = False

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        if not shutil.which(PROGRAM):
            raise FileNotFoundError(2, "this node has no program '%s'" % PROGRAM)

    def run(self, _alive: Callable[[], bool]) -> None:
        result, said = os.memfd_create("result"), os.memfd_create("said")
        me = os.getpid()
        signal.signal(signal.SIGTERM, self._end)
        self.process = subprocess.Popen(
            arguments(self.options["stressor"], self.options, result),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            pass_fds=(result,),
            preexec_fn=lambda: end_with(me),  # noqa: PLW1509 - a worker has one thread
        )
        if self.ended:
            self.process.terminate()
        code = self.process.wait()
        counted = re.findall(r"bogo-ops: ([\d.]+)$", _text(result), re.MULTILINE)
        self.slot.put(work=sum(float(count) for count in counted))
        if code and not self.ended:
            self._fail(_text(said), code)

    def _end(self, *_: object) -> None:
        self.ended = True
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def _fail(self, text: str, code: int) -> None:
        lines = [
            line.strip() for line in text.splitlines() if "error" in line.lower() or "fail" in line.lower()
        ]
        words = lines[0] if lines else "it ended with status %d" % code
        self.slot.tell(error="%s: %s" % (PROGRAM, words[:500]), errno=None)
        raise SystemExit(3)


def _text(fd: int) -> str:
    with open(fd, errors="replace") as stream:
        stream.seek(0)
        return stream.read()
