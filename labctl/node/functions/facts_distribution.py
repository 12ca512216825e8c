"""Which distribution a node runs, under the names Ansible gives them."""

from __future__ import annotations

import os

from labctl.node.functions.facts_text import digits, lines, text

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from typing import Dict, Optional

    from labctl.node.functions.facts_text import Facts

# os-release's ID to the name of the distribution, and the file Ansible reads it from.
_NAMES = {
    "debian": "Debian",
    "raspbian": "Debian",
    "ubuntu": "Ubuntu",
    "linuxmint": "Linux Mint",
    "kali": "Kali",
    "parrot": "Parrot",
    "devuan": "Devuan",
    "pop": "Pop!_OS",
    "neon": "KDE neon",
    "steamos": "SteamOS",
    "deepin": "Deepin",
    "uos": "Uos",
    "cumulus-linux": "Cumulus Linux",
    "pardus": "Pardus GNU/Linux",
    "osmc": "OSMC",
    "rhel": "RedHat",
    "centos": "CentOS",
    "fedora": "Fedora",
    "rocky": "Rocky",
    "almalinux": "AlmaLinux",
    "ol": "OracleLinux",
    "amzn": "Amazon",
    "scientific": "Scientific",
    "cloudlinux": "CloudLinux",
    "virtuozzo": "Virtuozzo",
    "openeuler": "openEuler",
    "eurolinux": "EuroLinux",
    "tencentos": "TencentOS",
    "sles": "SLES",
    "sled": "SLED",
    "sles_sap": "SLES_SAP",
    "sl-micro": "SL-Micro",
    "opensuse": "openSUSE",
    "opensuse-leap": "openSUSE Leap",
    "opensuse-tumbleweed": "openSUSE Tumbleweed",
    "opensuse-microos": "openSUSE MicroOS",
    "arch": "Archlinux",
    "archarm": "Archlinux",
    "manjaro": "Manjaro",
    "antergos": "Antergos",
    "gentoo": "Gentoo",
    "funtoo": "Funtoo",
    "alpine": "Alpine",
    "slackware": "Slackware",
    "altlinux": "Altlinux",
    "openwrt": "OpenWrt",
    "mandriva": "Mandriva",
    "flatcar": "Flatcar",
    "clear-linux-os": "Clear Linux OS",
}
_FAMILIES = {
    "RedHat": "RedHat CentOS Fedora Rocky AlmaLinux OracleLinux Amazon Scientific CloudLinux Virtuozzo openEuler"
    " EuroLinux TencentOS",
    "Debian": "Debian Ubuntu Linux_Mint Kali Parrot Devuan Pop!_OS KDE_neon SteamOS Deepin Uos Cumulus_Linux"
    " Pardus_GNU/Linux OSMC",
    "Suse": "SLES SLED SLES_SAP SL-Micro openSUSE openSUSE_Leap openSUSE_Tumbleweed openSUSE_MicroOS",
    "Archlinux": "Archlinux Manjaro Antergos",
    "Gentoo": "Gentoo Funtoo",
    "Mandrake": "Mandriva",
    "ClearLinux": "Clear_Linux_OS",
}
_FAMILY_OF = {
    name.replace("_", " ") if "!" not in name else name: family
    for family, names in _FAMILIES.items()
    for name in names.split()
}
_FAMILY_OF["SLES_SAP"] = "Suse"
_LIKE = {
    "debian": "Debian",
    "ubuntu": "Debian",
    "rhel": "RedHat",
    "fedora": "RedHat",
    "centos": "RedHat",
    "suse": "Suse",
    "arch": "Archlinux",
    "gentoo": "Gentoo",
}
_FILES = {
    "RedHat": "/etc/redhat-release",
    "Alpine": "/etc/alpine-release",
    "Archlinux": "/etc/arch-release",
    "Gentoo": "/etc/gentoo-release",
}
_VARIETIES = {"Suse": "SUSE"}


def os_release(root: str = "/") -> Dict[str, str]:
    """os-release's fields."""
    found = lines(os.path.join(root, "etc/os-release")) or lines(os.path.join(root, "usr/lib/os-release"))
    pairs = [line.split("=", 1) for line in found if "=" in line and not line.startswith("#")]
    return {key: _unquoted(value.strip().strip("\"'")) for key, value in pairs}


def _unquoted(value: str) -> str:
    if "\\" not in value:
        return value
    import re

    return re.sub(r"\\(.)", r"\1", value)


def distribution(root: str = "/") -> Facts:
    """distribution, its version, release and family, and the file that told. `root`: where its /etc is."""
    release = os_release(root)
    identifier = release.get("ID", "").lower()
    name = _NAMES.get(identifier) or release.get("NAME") or "OtherLinux"
    version = release.get("VERSION_ID", "")
    family = _FAMILY_OF.get(name) or _family(release) or name
    facts: Facts = {}
    if identifier in ("debian", "raspbian"):
        major, _, rest = text(os.path.join(root, "etc/debian_version")).partition(".")
        minor = digits(rest)
        if minor and major.isdigit():
            facts["distribution_minor_version"] = minor
            version = "%s.%s" % (major, minor)
    elif identifier == "centos":
        version = _exact(root) or version
    elif identifier == "alpine":
        version = text(os.path.join(root, "etc/alpine-release"), version)
    code = release.get("VERSION_CODENAME")
    if code is None:
        code = _codename(release)
    if family == "Suse":
        code = version.partition(".")[2] or ("" if name.startswith("open") else "0")
    if name == "CentOS" and "Stream" in release.get("NAME", ""):
        code = "Stream"
    if name == "Amazon":
        facts["distribution_minor_version"] = version.partition(".")[2] or "NA"
    path = os.path.join(root, _FILES.get(family, "/etc/os-release").lstrip("/"))
    if not os.path.exists(path):
        path = os.path.join(root, "etc/os-release")
    facts.update(
        distribution=name,
        distribution_version=version or ("rolling" if family == "Archlinux" else "NA"),
        distribution_major_version=version.split(".")[0] or "NA",
        distribution_release=code if code is not None else "NA",
        distribution_file_parsed=True,
        distribution_file_path=path,
        distribution_file_variety=_VARIETIES.get(family, "CentOS" if name == "CentOS" else family),
        os_family=family,
    )
    if family == "RedHat":
        facts["distribution_file_search_string"] = "Red Hat"
        if name != "RedHat":
            del facts["distribution_file_search_string"]
    return facts


def _family(release: Dict[str, str]) -> Optional[str]:
    return next((_LIKE[like] for like in release.get("ID_LIKE", "").split() if like in _LIKE), None)


def _exact(root: str) -> Optional[str]:
    import re

    found = re.search(r"\d+\.\d+", text(os.path.join(root, "etc/redhat-release")))
    return found.group(0) if found else None


def _codename(release: Dict[str, str]) -> Optional[str]:
    """The name in brackets: 'Rocky Linux 9.3 (Blue Onyx)'."""
    _, _, rest = (release.get("VERSION", "") or release.get("PRETTY_NAME", "")).partition("(")
    name, bracket, _ = rest.partition(")")
    return name if name and bracket else None
