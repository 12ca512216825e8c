"""Start, stop, enable or mask a unit of systemd. This is `systemd` under its other name."""

from __future__ import annotations

from pathlib import Path

from labctl.task_types import load

_systemd = load(Path(__file__).with_name("systemd.py"))
Arguments = _systemd.arguments
run = _systemd.run
