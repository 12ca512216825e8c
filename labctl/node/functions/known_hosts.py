"""Lines of a known_hosts file: which are of a host, and what the file is to hold."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import os
from typing import Any, Dict, List, Optional

from labctl.node.functions import paths


def plan(host: str, key: Optional[str], path: str, hashed: bool, present: bool) -> Dict[str, Any]:
    """{"path", "there", "before", "after": texts, "problem": why it cannot be done, or None,
    "about": the file's owner, mode …}."""
    path = os.path.expanduser(os.path.expandvars(path))
    try:
        with open(path, errors="surrogateescape") as stream:
            before, there = stream.read(), True
    except FileNotFoundError:
        before, there = "", False
    answer: Dict[str, Any] = {
        "path": path,
        "there": there,
        "before": before,
        "after": before,
        "problem": None,
        "about": paths.about(path),
    }
    new = None
    if key:
        new = _hashed(host, key) if hashed else key.rstrip("\n")
        entry = _parts(new)
        if entry is None:
            answer["problem"] = "the key must be a line of known_hosts: 'NAME TYPE KEY'"
        elif not _names(host, entry["host"]):
            answer["problem"] = "Host parameter does not match hashed host field in supplied key"
        if answer["problem"]:
            return answer
    lines = before.splitlines(keepends=True)
    mine = [number for number, line in enumerate(lines) if _is_of(host, line)]
    if new is None:
        gone = set(mine)
        answer["after"] = "".join(line for number, line in enumerate(lines) if number not in gone)
        return answer
    same, kind = _find(lines, mine, new)
    if not present:
        if same is not None:
            del lines[same]
    elif same is None:
        if kind is not None:
            del lines[kind]
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.append(new + "\n")
    answer["after"] = "".join(lines)
    return answer


def _find(lines: List[str], mine: List[int], new: str) -> Any:
    """Where the same key stands, else where another key of its type does."""
    wanted = _parts(new) or {}
    for number in mine:
        there = _parts(lines[number]) or {}
        either_hashed = wanted["host"].startswith("|1|") and there["host"].startswith("|1|")
        equal = {**there, "host": wanted["host"]} if either_hashed else there
        if equal == wanted:
            return number, number
        if there["type"] == wanted["type"] and "marker" not in there:
            return None, number
    return None, None


def _parts(line: str) -> Optional[Dict[str, str]]:
    words = line.split()
    entry: Dict[str, str] = {}
    if words and words[0].startswith("@"):
        entry["marker"] = words.pop(0)
    if len(words) < 3:
        return None
    entry.update(host=words[0], type=words[1], key=words[2])
    return entry


def _is_of(host: str, line: str) -> bool:
    if line.lstrip().startswith("#"):
        return False
    entry = _parts(line)
    return entry is not None and _names(host, entry["host"])


def _names(host: str, field: str) -> bool:
    """Whether the field of names, hashed or not, is about the host."""
    if field.startswith("|1|"):
        _, _, salt, digest = (*field.split("|"), "", "")[:4]
        try:
            made = hmac.new(base64.b64decode(salt), host.encode(), hashlib.sha1).digest()
            return hmac.compare_digest(made, base64.b64decode(digest))
        except ValueError:
            return False
    patterns = field.lower().split(",")
    if any(one.startswith("!") and fnmatch.fnmatchcase(host, _literal(one[1:])) for one in patterns):
        return False
    return any(fnmatch.fnmatchcase(host, _literal(one)) for one in patterns)


def _literal(pattern: str) -> str:
    return pattern.replace("[", "[[]")  # '[host]:port' is no set of letters


def _hashed(host: str, key: str) -> str:
    salt = os.urandom(20)
    digest = hmac.new(salt, host.encode(), hashlib.sha1).digest()
    words = key.split()
    at = 1 if words[0].startswith("@") else 0
    words[at] = "|1|%s|%s" % (base64.b64encode(salt).decode(), base64.b64encode(digest).decode())
    return " ".join(words)
