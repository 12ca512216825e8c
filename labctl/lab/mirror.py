"""Where Debian's packages come from on this machine: its own apt configuration says so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from labctl.lab.system import run

_FORMAT = "$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)\t$(COMPONENT)"
_USABLE = ("http://", "https://", "mirror+http://", "mirror+https://", "tor+http")


def os_release(text: str | None = None) -> dict[str, str]:
    """The fields of /etc/os-release."""
    if text is None:
        path = Path("/etc/os-release")
        text = path.read_text() if path.exists() else ""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def choose(targets: Iterable[str], codename: str) -> str | None:
    """The archive's URI among lines of `apt-get indextargets` (URI, release, origin, component), or None.

    The origin is empty until apt has fetched the archive's Release file."""
    for line in targets:
        uri, release, origin, component = [*line.split("\t"), "", "", ""][:4]
        if (
            uri.startswith(_USABLE)
            and release == codename
            and origin in ("Debian", "")
            and component == "main"
        ):
            return uri.rstrip("/")
    return None


def host_mirror() -> str | None:
    """The Debian archive this machine itself installs from; None when it is not Debian (or says nothing):
    mmdebstrap then takes its own default."""
    release = os_release()
    if release.get("ID") != "debian":
        return None
    targets = run(["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"], check=False)
    return choose(targets.stdout.splitlines(), release.get("VERSION_CODENAME", ""))


def read_back(sources: str) -> str | None:
    """The archive named by the first `deb` line of a sources.list."""
    found = re.search(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s", sources, re.MULTILINE)
    return found.group(1).rstrip("/") if found else None


def transport_options() -> str:
    """apt's own proxy and certificate settings as an apt.conf text, for apt runs with another configuration."""
    lines = run(["apt-config", "dump"], check=False).stdout.splitlines()
    kept = [line for line in lines if re.match(r"Acquire::https?::", line)]
    return "".join(f"{line}\n" for line in kept if not line.endswith('"";'))
