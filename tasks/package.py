"""Install, upgrade or remove packages with the node's own package manager.

On Debian and Ubuntu, the systems labctl provisions, that is apt: see `apt` for the arguments.
"""

from __future__ import annotations

from pathlib import Path

from labctl.task_types import load

_apt = load(Path(__file__).with_name("apt.py"))
Arguments = _apt.arguments
run = _apt.run
