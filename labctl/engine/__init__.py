"""Running playbooks."""

from labctl.engine.options import RunOptions, RunResult
from labctl.engine.run import run

__all__ = ["RunOptions", "RunResult", "run"]
