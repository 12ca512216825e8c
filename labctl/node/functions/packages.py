"""Debian packages of a node, read from dpkg's own records: no program is started for what is installed."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import time
from typing import Any

_STATUS = "/var/lib/dpkg/status"
_STAMPS = ("/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists")


def state(names: list[str], candidates: bool = False, status: str = _STATUS) -> dict[str, Any]:
    """What is installed of `names` ('nfs-common', 'libc6:arm64').

    Returns {"apt": bool, "packages": {name: {"version", "candidate"}}, "lists_age": seconds or None,
    "lists_time": whole seconds since the epoch or None}.
    A version of None: not installed. A virtual package has the version of its provider. `candidate` is asked
    of apt only when `candidates`; None: no source offers it."""
    try:
        with open(status, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    except OSError:
        text = ""
    installed, provided = _installed(text, set(names))
    offered = _candidates(names) if candidates else {}
    when = _lists_time()
    return {
        "apt": any(os.access(os.path.join(d, "apt-get"), os.X_OK) for d in ("/usr/bin", "/bin")),
        "packages": {
            name: {"version": installed.get(name, provided.get(name)), "candidate": offered.get(name)}
            for name in names
        },
        "lists_age": None if when is None else max(0.0, time.time() - when),
        "lists_time": None if when is None else int(when),
    }


def _installed(text: str, wanted: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    installed: dict[str, str] = {}
    provided: dict[str, str] = {}
    for stanza in text.split("\n\n"):
        fields = _fields(stanza)
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version = fields.get("Package", ""), fields.get("Version", "")
        qualified = name + ":" + fields.get("Architecture", "")
        for key in (name, qualified):
            if key in wanted:
                installed[key] = version
        for entry in fields.get("Provides", "").split(","):
            key = entry.split("(")[0].strip()
            if key in wanted:
                provided[key] = version
    return installed, provided


def _fields(stanza: str) -> dict[str, str]:
    found = {}
    for line in stanza.split("\n"):
        name, colon, value = line.partition(":")
        if colon and name in ("Package", "Status", "Version", "Architecture", "Provides"):
            found[name] = value.strip()
    return found


def _candidates(names: list[str]) -> dict[str, str | None]:
    if not names:
        return {}
    said = _run(["apt-cache", "policy", *names])
    found: dict[str, str | None] = {}
    name = ""
    for line in said.stdout.splitlines():
        if line and not line[0].isspace():
            name = line.rstrip(":")
        elif line.startswith("  Candidate:"):
            version = line.split(":", 1)[1].strip()
            found[name] = None if version == "(none)" else version
    return found


def _lists_time() -> float | None:
    for path in _STAMPS:
        try:
            return os.stat(path).st_mtime
        except OSError:
            continue
    return None


def describe_debs(paths: list[str]) -> list[dict[str, str]]:
    """[{"path", "name", "version", "architecture"}] of package files on the node; {"path", "error"} for a bad one."""
    found = []
    for path in paths:
        said = _run(["dpkg-deb", "--show", "--showformat=${Package}\\n${Version}\\n${Architecture}", path])
        words = said.stdout.split("\n")
        if said.returncode or len(words) < 3:
            reason = said.stderr.strip().split("\n")[-1] or "not a Debian package"
            found.append({"path": path, "error": reason})
        else:
            found.append({"path": path, "name": words[0], "version": words[1], "architecture": words[2]})
    return found


def simulate(argv: list[str]) -> dict[str, Any]:
    """Ask apt what an apt-get call would do. {"rc", "install": [[name, old or None, new]], "remove": [names],
    "error": text}."""
    said = _run([*argv[:1], "--simulate", *argv[1:]])
    install: list[list[str | None]] = []
    remove: list[str] = []
    for line in said.stdout.splitlines():
        words = line.split()
        if line.startswith("Inst ") and len(words) > 2:
            old = words[2].strip("[]") if words[2].startswith("[") else None
            new = next((w.lstrip("(") for w in words[2:] if w.startswith("(")), None)
            install.append([words[1], old, new])
        elif line.startswith(("Remv ", "Purg ")):
            remove.append(words[1])
    return {"rc": said.returncode, "install": install, "remove": remove, "error": said.stderr.strip()}


def wait_for_locks(timeout: float) -> bool:
    """Wait until nobody holds apt's and dpkg's locks; False when `timeout` seconds were not enough."""
    deadline = time.monotonic() + timeout
    for path in ("/var/lib/apt/lists/lock", "/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"):
        while not _is_free(path):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)  # a POSIX lock cannot be waited for with a time limit
    return True


def _is_free(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, LC_ALL="C", DEBIAN_FRONTEND="noninteractive")
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
            env=environment,
            check=False,
        )
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", "%s: %s" % (argv[0], error.strerror))


def matching(pattern: str, installed: bool) -> list[str]:
    """The names of packages that match a glob: installed ones, or all that apt knows."""
    import fnmatch

    if installed:
        try:
            with open(_STATUS, encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except OSError:
            return []
        stanzas = [_fields(stanza) for stanza in text.split("\n\n")]
        names = [one.get("Package", "") for one in stanzas if one.get("Status", "").endswith(" installed")]
    else:
        names = _run(["apt-cache", "pkgnames"]).stdout.split()
    return sorted({name for name in names if fnmatch.fnmatchcase(name, pattern)})


def cached(obsolete: bool) -> bool:
    """Whether apt-get clean (or autoclean: `obsolete`) would remove package files."""
    said = _run(["apt-get", "--simulate", "autoclean" if obsolete else "clean"]).stdout
    if obsolete:
        return "Del " in said
    folder = "/var/cache/apt/archives"
    return any(name.endswith(".deb") for place in (folder, folder + "/partial") for name in _names(place))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


_POLICY = "/usr/sbin/policy-rc.d"


def set_policy(status: int) -> str | None:
    """Let package scripts start no service but as `status` says (101: none). Returns the file there was."""
    kept = None
    if os.path.exists(_POLICY):
        with open(_POLICY, encoding="utf-8", errors="surrogateescape") as stream:
            kept = stream.read()
    with open(_POLICY, "w", encoding="utf-8") as stream:
        stream.write("#!/bin/sh\nexit %d\n" % status)
    os.chmod(_POLICY, 0o755)
    return kept


def restore_policy(kept: str | None) -> None:
    """Undo `set_policy`."""
    if kept is None:
        os.unlink(_POLICY)
        return
    with open(_POLICY, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(kept)
