"""What the task type `stress` asks of a node before it begins."""

import os
import time
from typing import Any, Dict


def machine() -> Dict[str, Any]:
    """{"cpus": processors this node may use, "booted": when its monotonic clock was zero, seconds since the epoch}."""
    return {"cpus": len(os.sched_getaffinity(0)), "booted": time.time() - time.monotonic()}
