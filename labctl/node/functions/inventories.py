"""What is installed on a node, and which services it has, whatever manages them."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any, Dict, List, Tuple

_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_RPM = "%{NAME}\\t%{VERSION}\\t%{RELEASE}\\t%{EPOCH}\\t%{ARCH}\\n"

Packages = Dict[str, List[Dict[str, Any]]]


def packages(managers: List[str], strategy: str) -> Dict[str, Any]:
    """{"packages": {name: [{"name", "version", "arch", "source" …}]} of the first manager that has some (strategy
    'first') or of 'all', "used": their names, "problems": why others were not}."""
    found: Packages = {}
    used: List[str] = []
    problems: List[str] = []
    for manager in managers:
        if used and strategy == "first":
            break
        try:
            listed = _LISTS[manager]()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            problems.append("%s: %s" % (manager, error))
            continue
        if listed:
            used.append(manager)
            for package in listed:
                found.setdefault(package["name"], []).append(dict(package, source=manager))
    return {"packages": found, "used": used, "problems": problems}


def _apt() -> List[Dict[str, Any]]:
    """dpkg's own records. A package of a foreign architecture has it in its name, as apt has it."""
    native = _ask("dpkg", "--print-architecture").strip()
    form = "${Package}\\t${Version}\\t${Architecture}\\t${Section}\\t${db:Status-Abbrev}\\n"
    listed = []
    for line in _ask("dpkg-query", "-W", "-f", form).splitlines():
        name, version, arch, section, status = line.split("\t")
        if status[1:2] not in ("i", "U", "F", "W", "t"):
            continue
        full = name if arch in (native, "all") else "%s:%s" % (name, arch)
        listed.append({"name": full, "version": version, "arch": arch, "category": section})
    return listed


def _rpm() -> List[Dict[str, Any]]:
    listed = []
    for line in _ask("rpm", "-qa", "--queryformat", _RPM).splitlines():
        name, version, release, epoch, arch = line.split("\t")
        epoch_number = None if epoch == "(none)" else epoch
        listed.append(
            {"name": name, "version": version, "release": release, "epoch": epoch_number, "arch": arch}
        )
    return listed


def _pacman() -> List[Dict[str, Any]]:
    listed = []
    for block in _ask("pacman", "-Qi").split("\n\n"):
        fields = dict(re.findall(r"^([\w ]*\w) +: (.*)$", block, re.MULTILINE))
        if "Name" in fields:
            provides = fields.get("Provides", "None")
            known = None if provides == "None" else [one.split("=")[0] for one in provides.split("  ")]
            entry = {
                "name": fields["Name"],
                "version": fields.get("Version"),
                "arch": fields.get("Architecture"),
            }
            listed.append(dict(entry, provides=known))
    return listed


def _apk() -> List[Dict[str, Any]]:
    listed = []
    for line in _ask("apk", "info", "-v").splitlines():
        words = line.rsplit("-", 2)
        if len(words) == 3:
            listed.append({"name": words[0], "version": words[1], "release": words[2]})
    return listed


def _portage() -> List[Dict[str, Any]]:
    listed = []
    for line in _ask("qlist", "-Iv").splitlines():
        found = re.match(r"([^/]+)/(.+?)-(\d[^-]*)(?:-(r\d+))?$", line.strip())
        if found:
            entry = {"category": found.group(1), "name": found.group(2), "version": found.group(3)}
            listed.append(dict(entry, ebuild_revision=found.group(4) or ""))
    return listed


_LISTS = {"apt": _apt, "rpm": _rpm, "pacman": _pacman, "apk": _apk, "portage": _portage}


def services() -> Dict[str, Any]:
    """{"services": {name: {"name", "state", "status", "source"}}, "problems": [text]}."""
    problems: List[str] = []
    found: Dict[str, Dict[str, Any]] = {}
    if _program("service") and not _program("chkconfig") and not _program("rc-status"):
        _scripts(found, problems)
    if _program("rc-status") and _program("rc-update"):
        _openrc(found)
    if _program("systemctl") and os.path.isdir("/run/systemd/system"):
        _units(found)
    return {"services": found, "problems": problems}


def _scripts(found: Dict[str, Dict[str, Any]], problems: List[str]) -> None:
    if not os.path.isdir("/etc/init.d"):
        return
    rc, text = _said("service", "--status-all")
    if rc:
        problems.append("'service --status-all' ended with status %d" % rc)
    for sign, name in re.findall(r"^\s*\[ ([+-]) \]\s+(.+)$", text, re.MULTILINE):
        found[name] = {"name": name, "state": "running" if sign == "+" else "stopped", "source": "sysv"}


def _openrc(found: Dict[str, Dict[str, Any]]) -> None:
    levels: Dict[str, Any] = {}
    for line in _said("rc-update", "show", "-v")[1].splitlines():
        name, bar, rest = line.partition("|")
        if bar:
            levels[name.strip()] = rest.split() or None
    for line in _said("rc-status", "-a", "-s", "-m")[1].splitlines():
        words = line.replace("[", " ").replace("]", " ").split()
        if line.startswith(" ") and len(words) > 1 and words[0] in levels:
            found[words[0]] = {
                "name": words[0],
                "runlevels": levels[words[0]],
                "state": words[1],
                "source": "openrc",
            }


def _units(found: Dict[str, Dict[str, Any]]) -> None:
    bad = ("not-found", "masked", "failed")
    listing = ["--no-pager", "--no-legend", "--type", "service", "--all"]
    for line in _said("systemctl", "list-units", "--plain", *listing)[1].splitlines():
        words = line.split()
        if len(words) > 3 and words[0].endswith(".service"):
            status = next((word for word in bad if word in words[:-1]), words[2])
            state = "running" if words[3] == "running" else "stopped"
            found[words[0]] = {"name": words[0], "state": state, "status": status, "source": "systemd"}
    unseen = []
    for line in _said("systemctl", "list-unit-files", *listing)[1].splitlines():
        words = line.split()
        if len(words) < 2 or not words[0].endswith(".service"):
            continue
        if words[0] in found:
            if found[words[0]].get("status") not in bad:
                found[words[0]]["status"] = words[1]
        else:
            unseen.append(words[0])
            found[words[0]] = {"name": words[0], "state": "unknown", "status": words[1], "source": "systemd"}
    real = [name for name in unseen if "@." not in name]
    if real:
        text = _said("systemctl", "show", "--no-pager", "--property=Id,ActiveState", *real)[1]
        for block in text.split("\n\n"):
            fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if fields.get("Id") in found:
                found[fields["Id"]]["state"] = fields.get("ActiveState", "unknown")


def _program(name: str) -> bool:
    return any(os.access(os.path.join(place, name), os.X_OK) for place in _PLACES)


def _said(*argv: str) -> Tuple[int, str]:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
        errors="replace",
        env=dict(os.environ, LC_ALL="C.UTF-8", LANG="C.UTF-8"),
        check=False,
    )
    return done.returncode, done.stdout


def _ask(*argv: str) -> str:
    rc, text = _said(*argv)
    if rc:
        raise ValueError("'%s' ended with status %d" % (argv[0], rc))
    return text
