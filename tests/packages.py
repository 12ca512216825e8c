"""Programs that tests need, installed by the name of their Debian package where they are missing."""

from __future__ import annotations

import shutil
import subprocess


def need(program: str, package: str) -> str:
    """The program's path."""
    found = _path(program)
    if found is None:
        subprocess.run(
            ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", package],
            check=True,
            capture_output=True,
        )
        found = _path(program)
    assert found, f"the package {package} has no program {program}"
    return found


def _path(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
