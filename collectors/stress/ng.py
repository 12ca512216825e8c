"""The same loads by stress-ng, where it is installed: one stress-ng for each stressor, its operations counted by itself.

It is told not to shield itself from the OOM killer (as root it would, and a neighbour died in its place) and not to begin
again with a worker that was killed. Its work is known only when it ends.
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


def arguments(name: str, options: dict[str, Any], folder: str) -> list[str]:
    """Its command line for one stressor; `folder` is for its files."""
    workers = str(options["workers"])
    own = {
        "cpu": lambda: [
            *("--cpu", workers, "--cpu-load", "%g" % (options["load"] * 100)),
            *("--cpu-method", METHODS[options["method"]]),
        ],
        # It divides the bytes among its workers; a worker here has the bytes it was asked for.
        "memory": lambda: [
            *("--vm", workers, "--vm-bytes", "%d" % (options["size"] * options["workers"])),
            *("--vm-keep", "--vm-populate"),
        ],
        "disk": lambda: [
            *("--hdd", workers, "--hdd-bytes", "%d" % (options["size"] * options["workers"])),
            *("--hdd-write-size", "%d" % options["block"], "--hdd-opts", "wr-seq,rd-seq" + _flags(options)),
        ],
    }[name]()
    common = ["--timeout", "0", "--oomable", "--no-oom-adjust", "--metrics-brief"]
    return [PROGRAM, *own, *common, "--temp-path", folder, "--yaml", folder + "/result.yaml"]


def _flags(options: dict[str, Any]) -> str:
    return (",direct" if options["direct"] else "") + (",fsync" if options["fsync"] else "")


class StressNg:
    """A worker that runs stress-ng and, told to end, lets it say what it has done."""

    unit = "bogo operations"

    def __init__(self, slot: Slot, options: dict[str, Any]) -> None:
        self.slot = slot
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        if not shutil.which(PROGRAM):
            raise FileNotFoundError(2, "this node has no program '%s'" % PROGRAM)

    def run(self, _alive: Callable[[], bool]) -> None:
        folder = tempfile.mkdtemp(prefix=".stress-", dir=self.options.get("folder"))
        signal.signal(signal.SIGTERM, self._end)
        try:
            with open(folder + "/said", "wb") as said:
                self.process = subprocess.Popen(
                    arguments(self.options["stressor"], self.options, folder),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_die_with_parent(),  # noqa: PLW1509 - a worker has one thread
                )
            code = self.process.wait()
            self._result(folder)
            if code and not self.ended:
                self._said(folder, code)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    ended = False

    def _end(self, *_: object) -> None:
        self.ended = True
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def _result(self, folder: str) -> None:
        try:
            with open(folder + "/result.yaml") as stream:
                text = stream.read()
        except OSError:  # it was killed before it could write any
            return
        self.slot.put(
            work=sum(float(count) for count in re.findall(r"bogo-ops: ([\d.]+)$", text, re.MULTILINE))
        )

    def _said(self, folder: str, code: int) -> None:
        with open(folder + "/said", errors="replace") as stream:
            lines = [line.strip() for line in stream if "error" in line.lower() or "fail" in line.lower()]
        words = lines[0] if lines else "it ended with status %d" % code
        self.slot.tell(error="%s: %s" % (PROGRAM, words[:500]), errno=None)
        raise SystemExit(3)


def _die_with_parent() -> Callable[[], None]:
    parent = os.getpid()
    return lambda: end_with(parent)
