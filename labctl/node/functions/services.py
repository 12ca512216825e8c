"""Services of a node, under systemd or as /etc/init.d scripts."""

from __future__ import annotations

import glob
import os
import subprocess
from typing import Any

_RUNLEVEL = "/etc/rc[2-5].d/S[0-9][0-9]"


def state(name: str) -> dict[str, Any]:
    """{"manager": "systemd", "init.d" or None, "found": bool, "running": bool or None, "enabled": bool or None,
    "status": the manager's word, "names": other services, when this one was not found}."""
    if os.path.isdir("/run/systemd/system"):
        found = _systemd(name)
    elif os.path.isdir("/etc/init.d"):
        found = _script(name)
    else:
        return {"manager": None, "found": False, "running": None, "enabled": None, "status": "", "names": []}
    if not found["found"]:
        found["names"] = names(found["manager"])
    return found


def _systemd(name: str) -> dict[str, Any]:
    unit = name if "." in name else name + ".service"
    wanted = "LoadState,ActiveState,SubState,UnitFileState"
    said = _run(["systemctl", "show", "--no-pager", "--property=" + wanted, "--", unit])
    fields = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    active, unit_file = fields.get("ActiveState", ""), fields.get("UnitFileState", "")
    return {
        "manager": "systemd",
        "found": fields.get("LoadState") in ("loaded", "masked"),
        "running": active in ("active", "activating", "reloading"),
        # static and indirect units cannot be enabled; others of that kind start them
        "enabled": None
        if unit_file in ("static", "indirect", "generated", "transient", "")
        else unit_file.startswith(("enabled", "alias", "linked")),
        "status": "%s (%s)" % (active, fields.get("SubState", "")),
    }


def _script(name: str) -> dict[str, Any]:
    path = "/etc/init.d/" + name
    enabled = bool(glob.glob(_RUNLEVEL + glob.escape(name)))
    found: dict[str, Any] = {"manager": "init.d", "found": os.access(path, os.X_OK), "enabled": enabled}
    if not found["found"]:
        return dict(found, running=None, status="")
    said = _run([path, "status"])
    # LSB: 0 running, 1 to 3 not running, 4 unknown
    running = True if said.returncode == 0 else False if said.returncode in (1, 2, 3) else None
    return dict(found, running=running, status=(said.stdout or said.stderr).strip())


def names(manager: str) -> list[str]:
    """The services there are."""
    if manager == "systemd":
        said = _run(["systemctl", "list-unit-files", "--no-legend", "--no-pager", "--type=service"])
        return sorted(
            line.split()[0][: -len(".service")] for line in said.stdout.splitlines() if line.split()
        )
    return sorted(entry for entry in os.listdir("/etc/init.d") if os.access("/etc/init.d/" + entry, os.X_OK))


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 4, "", str(error))
