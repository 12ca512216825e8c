"""apt's sources on a node: one-line sources and the files they stand in."""

from __future__ import annotations

import glob
import os
import re
from typing import Any, Dict, List, Optional, Sequence

Found = Dict[str, Any]
_MAIN, _FOLDER = "/etc/apt/sources.list", "/etc/apt/sources.list.d"


def _source(line: str) -> Optional[str]:
    """A source line with its comment and superfluous blanks taken off; None when it is none, or disabled."""
    text = line.split("#", 1)[0].strip()
    options = re.match(r"(deb(?:-src)?)\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S.*)$", text)
    if options is None:
        return None
    return " ".join([options[1], *((options[2] or "").split()), options[3], *options[4].split()])


def name_of(line: str) -> str:
    """The file a source goes to, as Ansible names it."""
    text = re.sub(r"\w+://", "", re.sub(r"\[[^\]]+\]", "", line))
    parts = [part for part in text.split() if part not in ("deb", "deb-src")]
    address = parts[0].split("@", 1)[-1]
    return "_".join(re.sub("[^a-zA-Z0-9]", " ", address).split()) + ".list"


def look(line: str, state: str, filename: Optional[str] = None) -> Found:
    """{"files": [{"path", "before", "after"}] to change (a text, or None for no file), "added", "removed"} or
    {"error"}."""
    wanted = _source(line)
    if wanted is None:
        return {"error": "Invalid repository string: %s" % line}
    files: Dict[str, str] = {}
    for path in [_MAIN, *sorted(glob.glob(os.path.join(_FOLDER, "*.list")))]:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as stream:
                files[path] = stream.read()
        except OSError:
            continue
    if state == "absent":
        return _answer(_without(files, wanted))
    if any(_source(one) == wanted for text in files.values() for one in text.splitlines()):
        return _answer([])
    for path, text in files.items():  # one that is commented out is enabled again
        lines = text.splitlines(keepends=True)
        for number, one in enumerate(lines):
            if one.lstrip().startswith("#") and _source(one.lstrip().lstrip("#")) == wanted:
                lines[number] = wanted + "\n"
                return _answer([{"path": path, "before": text, "after": "".join(lines)}])
    name = filename or name_of(line)
    name = name if name.endswith(".list") else name + ".list"
    path = name if name.startswith("/") else os.path.join(_FOLDER, name)
    there = files.get(path)
    before = there or ""
    before += "\n" if before and not before.endswith("\n") else ""
    return _answer([{"path": path, "before": there, "after": before + wanted + "\n"}])


def _without(files: Dict[str, str], wanted: str) -> List[Found]:
    changed = []
    for path, text in files.items():
        lines = text.splitlines(keepends=True)
        kept = [one for one in lines if _source(one) != wanted]
        if len(kept) != len(lines):
            after: Optional[str] = "".join(kept)
            if path != _MAIN and not any(one.strip() for one in kept):
                after = None
            changed.append({"path": path, "before": text, "after": after})
    return changed


def _answer(files: List[Found]) -> Found:
    return {
        "files": files,
        "added": [one["path"] for one in files if one["before"] is None],
        "removed": [one["path"] for one in files if one["after"] is None],
    }


def save(files: Sequence[Found], side: str, mode: Optional[int] = None) -> None:
    """Write the `side` ("before" or "after") of files as `look` returned them."""
    for one in files:
        text = one[side]
        if text is None:
            if os.path.exists(one["path"]):
                os.unlink(one["path"])
            continue
        os.makedirs(os.path.dirname(one["path"]), exist_ok=True)
        temporary = one["path"] + ".labctl"
        old = os.stat(one["path"]).st_mode & 0o7777 if os.path.exists(one["path"]) else 0o644
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text)
        os.chmod(temporary, old if mode is None else mode)
        os.rename(temporary, one["path"])
