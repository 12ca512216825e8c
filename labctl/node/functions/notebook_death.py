"""Why something died: from its wait status, what the cgroup counted meanwhile, and the errno the load met.

A SIGKILL says nothing about its sender. Only a rise of the cgroup's own count of kills for lack of memory makes one
an `oom`; without it somebody else sent it, and it is `killed`.
"""

from __future__ import annotations

import signal
from typing import Any, Dict, Optional

Values = Dict[str, Any]


def cause(
    status: Optional[Values], risen: Dict[str, Optional[int]], errno: Optional[str], timed_out: bool
) -> str:
    """`oom`, `oom_group`, `enospc`, `pids`, `killed`, `exit` or `timeout`. `status`: {signal, exit} of what died,
    None where nobody could see it; `risen`: see notebook_counters.risen; `errno`: the name of what the load met."""
    if timed_out:
        return "timeout"
    number = (status or {}).get("signal")
    if number in (None, int(signal.SIGKILL)) and not (status or {}).get("exit"):
        if risen.get("oom_group_kill"):
            return "oom_group"
        if risen.get("oom_kill"):
            return "oom"
    if number is not None:
        return "killed"
    if errno in ("ENOSPC", "EDQUOT"):
        return "enospc"
    if errno == "EAGAIN" and risen.get("pids_max"):
        return "pids"
    return "exit"


def death(
    what: str,
    status: Optional[Values],
    risen: Dict[str, Optional[int]],
    errno: Optional[str] = None,
    timed_out: bool = False,
) -> Values:
    """The record of a death but for its times (labctl.pods.notebook.Death)."""
    return {
        "what": what,
        "cause": cause(status, risen, errno, timed_out),
        "signal": (status or {}).get("signal"),
        "exit": (status or {}).get("exit"),
        "oom_kill": risen.get("oom_kill"),
        "oom_group_kill": risen.get("oom_group_kill"),
        "errno": errno,
    }


def of_container(exit_code: Optional[int]) -> Optional[Values]:
    """{signal, exit} of a container's exit code, in which 128 + n stands for signal n; None when it is unknown."""
    if exit_code is None:
        return None
    if exit_code > 128:
        return {"signal": exit_code - 128, "exit": None}
    return {"signal": None, "exit": exit_code}
