"""Python packages of a node, asked of its own interpreters. `pip` here is an argument vector."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence

Found = Dict[str, Any]
_LIST = "import json,re;from importlib import metadata as m;print(json.dumps({re.sub(r'[-_.]+','-',d.metadata['Name'] or '').lower():d.version for d in m.distributions()}))"


def command(virtualenv: Optional[str] = None, executable: Optional[str] = None) -> List[str]:
    """The pip to use: the virtual environment's, the named one, or that of the system's Python."""
    if virtualenv:
        return [os.path.join(virtualenv, "bin", "python"), "-m", "pip"]
    if executable:
        found = executable if os.path.isabs(executable) else shutil.which(executable)
        if not found:
            raise OSError(2, "there is no '%s' on this node" % executable)
        return [found]
    for python in ("/usr/bin/python3", sys.executable or "python3"):
        if os.path.exists(python) and _run([python, "-m", "pip", "--version"]).returncode == 0:
            return [python, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    if not found:
        raise OSError(2, "Unable to find any of pip3 to use.  pip needs to be installed.")
    return [found]


def look(virtualenv: Optional[str] = None, executable: Optional[str] = None) -> Found:
    """{"env": whether the virtual environment is there, "pip", "installed": {name: version}}."""
    if virtualenv and not os.path.exists(os.path.join(virtualenv, "bin", "activate")):
        return {"env": False, "pip": command(virtualenv), "installed": {}}
    pip = command(virtualenv, executable)
    return {"env": True, "pip": pip, "installed": installed(pip)}


def installed(pip: Sequence[str]) -> Dict[str, str]:
    """{normalised name: version} of what that pip's Python can import."""
    python = pip[0] if list(pip[1:2]) == ["-m"] else None
    if python:
        said = _run([python, "-c", _LIST])
        if said.returncode == 0:
            return dict(json.loads(said.stdout))
    said = _run([*pip, "list", "--format=json"])
    if said.returncode:
        return {}
    return {re.sub(r"[-_.]+", "-", one["name"]).lower(): one["version"] for one in json.loads(said.stdout)}


def satisfied(pip: Sequence[str], requirements: Sequence[str]) -> Optional[bool]:
    """Whether what is installed satisfies these requirements, extras and markers included, by pip's own
    copy of the `packaging` library; None when it cannot say."""
    program = (
        "import sys,json\n"
        "from pip._vendor.packaging.requirements import Requirement\n"
        "from importlib import metadata as m\n"
        "def ok(text):\n"
        " r=Requirement(text)\n"
        " if r.url: return False\n"
        " if r.marker and not r.marker.evaluate(): return True\n"
        " try: d=m.distribution(r.name)\n"
        " except m.PackageNotFoundError: return False\n"
        " return r.specifier.contains(d.version,prereleases=True)\n"
        "print(json.dumps(all(ok(t) for t in sys.argv[1:])))"
    )
    if list(pip[1:2]) != ["-m"]:
        return None
    said = _run([pip[0], "-c", program, *requirements])
    return bool(json.loads(said.stdout)) if said.returncode == 0 else None


def _run(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        cwd="/",
        check=False,
    )
