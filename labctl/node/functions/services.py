"""Services of a node, under systemd or as /etc/init.d scripts."""

from __future__ import annotations

import glob
import os
import subprocess
from typing import Any, Dict, List, Optional

_RUNLEVEL = "/etc/rc?.d/S[0-9][0-9]"


def state(name: str, pattern: Optional[str] = None) -> Dict[str, Any]:
    """{"manager": "systemd", "init.d" or None, "found": bool, "running": bool or None, "enabled": bool or None,
    "status": the manager's word, under systemd "unit": as `unit` has it, "names": other services, when this one was not found}. `pattern`: words of the
    processes that show a script's service to run."""
    if os.path.isdir("/run/systemd/system"):
        found = _systemd(name)
    elif os.path.isdir("/etc/init.d"):
        found = _script(name)
        if pattern and found["found"]:
            found["running"] = _has_process(pattern)
    else:
        return {"manager": None, "found": False, "running": None, "enabled": None, "status": "", "names": []}
    if not found["found"]:
        found["names"] = names(found["manager"])
    return found


def _systemd(name: str) -> Dict[str, Any]:
    about = unit(name, "system")
    status = about["status"]
    active, file = status.get("ActiveState", ""), status.get("UnitFileState", "")
    return {
        "manager": "systemd",
        "found": status.get("LoadState") in ("loaded", "masked"),
        "running": active in ("active", "activating", "reloading"),
        # static and indirect units cannot be enabled; others of that kind start them
        "enabled": None
        if file in ("static", "indirect", "generated", "transient", "")
        else file.startswith(("enabled", "alias", "linked")),
        "status": "%s (%s)" % (active, status.get("SubState", "")),
        "unit": about,
    }


def unit(name: Optional[str], scope: str) -> Dict[str, Any]:
    """{"systemctl": bool, "booted": whether systemd runs this node, "init": its first process, "status": the unit's
    properties, "file": systemctl's word for its file ('enabled', 'masked', '' …), "enabled": bool, "script": whether
    there is an /etc/init.d script of that name, "names": other units, when this one was not found}."""
    known = [os.path.join(place, "systemctl") for place in ("/usr/bin", "/bin", "/usr/sbin", "/sbin")]
    found: Dict[str, Any] = {
        "systemctl": any(os.access(path, os.X_OK) for path in known),
        "booted": os.path.isdir("/run/systemd/system"),
        "init": _first_process(),
        "status": {},
        "file": "",
        "enabled": False,
        "script": bool(name) and os.access("/etc/init.d/%s" % name, os.X_OK),
        "names": [],
    }
    if not found["systemctl"] or not name:
        return found
    base = ["systemctl", *([] if scope == "system" else ["--" + scope])]
    said = _run([*base, "is-enabled", "--", name])
    found["file"] = said.stdout.strip()
    found["enabled"] = said.returncode == 0 and found["file"] not in ("enabled-runtime", "indirect", "alias")
    if found["booted"]:
        found["status"] = _properties(_run([*base, "show", "--no-pager", "--", name]).stdout)
        if found["status"].get("LoadState") == "not-found":
            found["names"] = names("systemd")
    return found


def _first_process() -> str:
    try:
        with open("/proc/1/comm", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return "unknown"


def _properties(text: str) -> Dict[str, str]:
    """`systemctl show`: NAME=VALUE a line, but a value that opens a brace goes on until a line that closes it."""
    found: Dict[str, str] = {}
    name = ""
    open_lines: List[str] = []
    for line in text.splitlines():
        if open_lines:
            open_lines.append(line)
        elif "=" in line:
            name, _, value = line.partition("=")
            if name.startswith("Exec") and value.lstrip().startswith("{"):
                open_lines = [value]
            else:
                found[name] = value.strip()
        if open_lines and open_lines[-1].rstrip().endswith("}"):
            found[name] = "\n".join(open_lines).strip()
            open_lines = []
    return found


def _script(name: str) -> Dict[str, Any]:
    path = "/etc/init.d/" + name
    enabled = bool(glob.glob(_RUNLEVEL + glob.escape(name)))
    found: Dict[str, Any] = {"manager": "init.d", "found": os.access(path, os.X_OK), "enabled": enabled}
    if not found["found"]:
        return dict(found, running=None, status="")
    said = _run([path, "status"])
    # LSB: 0 running, 1 to 3 not running, 4 unknown
    running = True if said.returncode == 0 else False if said.returncode in (1, 2, 3) else None
    return dict(found, running=running, status=(said.stdout or said.stderr).strip())


def script(name: str, pattern: Optional[str], levels: List[str]) -> Dict[str, Any]:
    """An /etc/init.d script: {"found", "running", "enabled": {runlevel, or 'default': bool}, "names"}."""
    found = _script(name)
    if pattern and found["found"]:
        found["running"] = _has_process(pattern)
    by_level = {
        level: bool(glob.glob("/etc/rc%s.d/S[0-9][0-9]%s" % (glob.escape(level), glob.escape(name))))
        for level in levels
    }
    return {
        "found": found["found"],
        "running": found["running"],
        "enabled": by_level or {"default": found["enabled"]},
        "names": [] if found["found"] else names("init.d"),
    }


def _has_process(pattern: str) -> bool:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open("/proc/%s/cmdline" % entry, errors="replace") as stream:
                    if pattern in stream.read().replace("\0", " "):
                        return True
            except OSError:
                continue
    return False


def names(manager: str) -> List[str]:
    """The services there are."""
    if manager == "systemd":
        said = _run(["systemctl", "list-unit-files", "--no-legend", "--no-pager", "--type=service"])
        return sorted(
            line.split()[0][: -len(".service")] for line in said.stdout.splitlines() if line.split()
        )
    return sorted(entry for entry in os.listdir("/etc/init.d") if os.access("/etc/init.d/" + entry, os.X_OK))


def _run(argv: List[str]) -> subprocess.CompletedProcess[str]:
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
