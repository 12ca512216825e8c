"""One command, run once: how long it took, and what of the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_REAPER = Path(__file__).with_name("reaper.py")


@dataclass(frozen=True)
class Command:
    """`environment` is added to the tools' common one."""

    argv: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes of one run, as reaper.py has them; `memory` is the larger of `rss` and the sampled sum."""

    rc: int
    wall: float
    user: float
    system: float
    rss: int
    memory: int
    left: int
    output: str = field(repr=False)

    @property
    def cpu(self) -> float:
        return self.user + self.system


def environment(home: Path) -> dict[str, str]:
    """What all tools get: nothing that configures one of them, and an empty home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "LABCTL_", "PYINFRA_", "PYTHON", "SSH_"))
    }
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}


def run(command: Command, folder: Path, home: Path, timeout: float = 3600) -> Measured:
    """Run it in `folder`, its output in a file. Whatever it leaves behind is ended."""
    report, output = folder / "measured.json", folder / "output.txt"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-I", "-S", _REAPER, report, output, *command.argv]
    process = subprocess.Popen(
        [str(word) for word in argv],
        cwd=folder,
        env={**environment(home), **command.environment},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout)
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    said = output.read_text(errors="replace")
    found = json.loads(report.read_text())
    found["memory"] = max(found["rss"], found["memory"] or 0)
    return Measured(**found, output=said)
