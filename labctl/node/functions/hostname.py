"""A node's name: the one it has, and the one it will have after its next start."""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import Any, Dict, List, Optional

_FILES = {
    "openrc": "/etc/conf.d/hostname",
    "redhat": "/etc/sysconfig/network",
    "sles": "/etc/HOSTNAME",
    "generic": None,
}


def state(use: Optional[str]) -> Dict[str, Any]:
    """{"how": 'systemd', 'alpine' or 'file', "file": path or None, "current": the name to be compared, "permanent",
    "fqdn"}. Where only the file is set, the name the node has now is of no matter."""
    systemd = os.path.isdir("/run/systemd/system") and any(
        os.access(os.path.join(place, "hostnamectl"), os.X_OK) for place in ("/usr/bin", "/bin")
    )
    how = "systemd" if systemd and use in (None, "systemd", "debian") else "file"
    if use == "alpine" or (use is None and os.path.exists("/etc/alpine-release")):
        how = "alpine"
    if use is None and os.path.exists("/sbin/openrc"):
        use = "openrc"
    path = _FILES.get(use or "", "/etc/hostname")
    running = socket.gethostname()
    permanent = running if path is None else _read(path)
    return {
        "how": how,
        "file": path,
        "current": permanent if how == "file" else running,
        "permanent": permanent,
        "fqdn": fqdn(),
    }


def fqdn() -> str:
    """The full name, as the name service has it; the name itself when that does not answer within 2 seconds."""
    found: List[str] = []
    thread = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    thread.start()
    thread.join(2.0)
    return found[0] if found else socket.gethostname()


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as stream:
            text = stream.read()
    except OSError:
        return ""
    if path in (_FILES["openrc"], _FILES["redhat"]):
        named = re.search(r'^\s*hostname\s*=\s*"?([^"\n]*)"?', text, re.MULTILINE | re.IGNORECASE)
        return named.group(1).strip() if named else ""
    return text.strip()


def keep(path: str, name: str) -> None:
    """Write the name down for the next start. /etc/hostname may be a mount of its own in a container: it is written
    in place."""
    text = name + "\n"
    if path in (_FILES["openrc"], _FILES["redhat"]):
        line = 'hostname="%s"' % name if path == _FILES["openrc"] else "HOSTNAME=%s" % name
        try:
            with open(path, errors="surrogateescape") as stream:
                old = stream.read()
        except OSError:
            old = ""
        text, times = re.subn(r"(?im)^\s*hostname\s*=.*$", line, old, count=1)
        if not times:
            text = old + line + "\n"
    with open(path, "w", errors="surrogateescape") as stream:
        stream.write(text)
