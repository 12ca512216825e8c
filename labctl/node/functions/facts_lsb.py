"""What a node's Linux Standard Base says it is."""

from __future__ import annotations

import os

from labctl.node.functions.facts_distribution import os_release
from labctl.node.functions.facts_text import lines, program, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from labctl.node.functions.facts_text import Facts, Programs

_KEYS = {
    "Distributor ID": "id",
    "Description": "description",
    "Release": "release",
    "Codename": "codename",
}
# What makes the script of Debian 12 and Ubuntu 24.04 (lsb-release-minimal) say what it says.
_SCRIPT = (
    """[ "${os_release-x}" != "x" ] && . "$os_release"\n""",
    """ID="$(printf "%s" "$ID" | cut -c1 | tr '[:lower:]' '[:upper:]')$(printf "%s" "$ID" | cut -c2-)"\n""",
    """if [ "${lower_case_id}" = "${lower_case_name}" ] ; then\n\t\tID="$NAME"\n""",
    """display_line "Distributor ID" "${ID:-n/a}"\n""",
    """display_line "Description" "${PRETTY_NAME:-n/a}"\n""",
    """display_line "Release" "${VERSION_ID:-n/a}"\n""",
    """display_line "Codename" "${VERSION_CODENAME:-n/a}"\n""",
)


def ask(programs: Programs) -> None:
    """Start lsb_release, unless it is known what it will say."""
    if not repeats_os_release():
        programs.start("lsb_release", ["lsb_release", "-a"])


def lsb(programs: Programs) -> Facts:
    found: Facts = of_os_release() if repeats_os_release() else {}
    said = programs.said("lsb_release")
    if said and said[0] == 0:
        for line in said[1].splitlines():
            name, _, value = line.partition(":")
            if name in _KEYS:
                found[_KEYS[name]] = value.strip()
    if not found:
        for line in lines("/etc/lsb-release"):
            name, _, value = line.partition("=")
            if name.startswith("DISTRIB_"):
                found[name[len("DISTRIB_") :].lower()] = value.strip().strip("\"'")
    if "release" in found:
        found["major_release"] = found["release"].split(".")[0]
    return {"lsb": {name: value.strip("'\"\\") for name, value in found.items()}}


def repeats_os_release() -> bool:
    """Whether lsb_release is a script that shows fields of os-release, and those are plain words: it starts 20
    processes for that, 9 ms of CPU."""
    path = program("lsb_release")
    if path is None or "LSB_OS_RELEASE" in os.environ:
        return False
    script = text(path)
    plain = not set("$`\\") & set(text("/etc/os-release", "$"))
    return plain and script.startswith("#!/bin/sh\n") and all(part in script for part in _SCRIPT)


def of_os_release(root: str = "/") -> Facts:
    """What that script says; `root`: where its /etc is."""
    release = os_release(root)
    identifier = release.get("ID", "")
    identifier = identifier[:1].upper() + identifier[1:]
    if release.get("NAME", "").lower() == identifier.lower():
        identifier = release["NAME"]
    return {
        "id": identifier or "n/a",
        "description": release.get("PRETTY_NAME") or "n/a",
        "release": release.get("VERSION_ID") or "n/a",
        "codename": release.get("VERSION_CODENAME") or "n/a",
    }
