"""Users and groups of a node: what the account databases say, home directories and SSH keys."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import subprocess
from typing import Any, Dict, List, Optional

from labctl.node.functions import expecting

_SHADOW = ("name", "password", "changed", "min", "max", "warn", "inactive", "expires")


def group(name: str, local: bool = False) -> Optional[Dict[str, Any]]:
    """{"name", "gid", "members"}; None when there is no such group (`local`: in /etc/group)."""
    if local and not _listed("/etc/group", name):
        return None
    try:
        entry = grp.getgrnam(name)
    except KeyError:
        return None
    return {"name": entry.gr_name, "gid": entry.gr_gid, "members": list(entry.gr_mem)}


def user(
    name: str, groups: List[str], local: bool = False, paths: Optional[Dict[str, str]] = None
) -> Dict[str, Any]:
    """{"user": {"uid", "gid", "comment", "home", "shell", "groups": supplementary ones, "home_exists", "shadow"} or
    None, "groups": {name or number asked for: {"name", "gid"} or None}, "namesake": whether a group has the user's
    name, "paths": those given, with ~ and $NAME as this node has them}. The shadow entry is None for who may not read it; its numbers are days, or None."""
    known = {wanted: _group(wanted) for wanted in groups}
    answer: Dict[str, Any] = {"user": None, "groups": known, "namesake": _group(name) is not None}
    expanded = {key: os.path.expanduser(os.path.expandvars(path)) for key, path in (paths or {}).items()}
    answer["paths"] = expanded
    if local and not _listed("/etc/passwd", name):
        return answer
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return answer
    answer["user"] = {
        "uid": entry.pw_uid,
        "gid": entry.pw_gid,
        "comment": entry.pw_gecos,
        "home": entry.pw_dir,
        "shell": entry.pw_shell,
        "groups": [one.gr_name for one in grp.getgrall() if name in one.gr_mem],
        "home_exists": os.path.exists(entry.pw_dir),
        "shadow": _shadow(name),
    }
    return answer


def _listed(path: str, name: str) -> bool:
    with open(path, errors="surrogateescape") as stream:
        return any(line.startswith(name + ":") for line in stream)


def _group(wanted: str) -> Optional[Dict[str, Any]]:
    try:
        entry = grp.getgrgid(int(wanted))
    except (ValueError, KeyError):
        try:
            entry = grp.getgrnam(wanted)
        except KeyError:
            return None
    return {"name": entry.gr_name, "gid": entry.gr_gid}


def _shadow(name: str) -> Optional[Dict[str, Any]]:
    try:
        with open("/etc/shadow", errors="surrogateescape") as stream:
            line = next((line for line in stream if line.startswith(name + ":")), None)
    except OSError:
        return None
    if line is None:
        return None
    fields = dict(zip(_SHADOW, line.rstrip("\n").split(":")))  # noqa: B905 - Python 3.8 has no strict
    numbers = {key: int(fields[key]) if fields.get(key) else None for key in _SHADOW[2:]}
    return {"password": fields["password"], **numbers}


def make_home(path: str, skeleton: Optional[str], umask: Optional[str], uid: int, gid: int) -> None:
    """A home directory with the skeleton's files, as useradd makes one; its parents are root's."""
    if os.path.lexists(path):
        return
    parent = os.path.dirname(path.rstrip("/"))
    if parent and not os.path.isdir(parent):
        os.makedirs(parent, 0o755)
    source = skeleton or "/etc/skel"
    if os.path.isdir(source):
        shutil.copytree(source, path, symlinks=True)
    else:
        os.mkdir(path)
    os.chmod(path, 0o777 & ~int(umask, 8) if umask else _home_mode())
    own(path, uid, gid)


def own(path: str, uid: int, gid: int) -> None:
    """Give a tree to a user."""
    os.chown(path, uid, gid)
    for folder, folders, files in os.walk(path):
        for entry in folders + files:
            os.chown(os.path.join(folder, entry), uid, gid, follow_symlinks=False)


def _home_mode() -> int:
    """login.defs' HOME_MODE, else what its UMASK leaves."""
    known: Dict[str, str] = {}
    try:
        with open("/etc/login.defs", errors="replace") as stream:
            for line in stream:
                words = line.split("#")[0].split()
                if len(words) == 2:
                    known[words[0]] = words[1]
    except OSError:
        pass
    try:
        return (
            int(known["HOME_MODE"], 8) if "HOME_MODE" in known else 0o777 & ~int(known.get("UMASK", "022"), 8)
        )
    except ValueError:
        return 0o755


def ssh_key(path: str) -> Optional[Dict[str, Any]]:
    """{"fingerprint", "public"} of a key pair; None when neither file is there."""
    public = path + ".pub"
    if not (os.path.exists(path) or os.path.exists(public)):
        return None
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        check=False,
    )
    text = None
    if os.path.exists(public):
        with open(public, errors="replace") as stream:
            text = stream.read().strip()
    return {"fingerprint": (said.stdout if said.returncode == 0 else said.stderr).strip(), "public": text}


def make_ssh_key(  # noqa: PLR0917
    path: str, kind: str, bits: int, comment: Optional[str], passphrase: Optional[str], uid: int, gid: int
) -> Dict[str, Any]:
    """Make a key pair of this user, in place of one that is there. {"rc", "output"}."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.mkdir(folder, 0o700)
        os.chown(folder, uid, gid)
    for old in (path, path + ".pub"):
        if os.path.lexists(old):
            os.unlink(old)
    words = ["ssh-keygen", "-q", "-t", kind, *(["-b", str(bits)] if bits else [])]
    words += [
        "-C",
        comment if comment is not None else "ansible-generated on %s" % socket.gethostname(),
        "-f",
        path,
    ]
    if passphrase:
        # Typed on a terminal: an argument would be there for all to see.
        told = expecting.converse(words, {r"passphrase[^:]*:": [passphrase, passphrase]}, timeout=300.0)
        rc, output = told["rc"], told["output"]
    else:
        said = subprocess.run(
            [*words, "-N", ""],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            check=False,
        )
        rc, output = said.returncode, said.stdout
    if rc == 0:
        os.chown(path, uid, gid)
        os.chown(path + ".pub", uid, gid)
    return {"rc": rc, "output": output}
