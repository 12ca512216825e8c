"""What the tests call on this machine, besides what labctl itself needs: installed here, so that none is skipped."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from labctl.lab import system

PACKAGES = {
    "bzip2": "bzip2",
    "file": "file",
    "fish": "fish",
    "git": "git",
    "lsb_release": "lsb-release",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "stress-ng": "stress-ng",
    "sudo": "sudo",
    "tcsh": "tcsh",
    "unzip": "unzip",
    "xz": "xz-utils",
}


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        missing = system.missing(PACKAGES)
        system.install(missing, lambda message, _fraction: print(message, file=sys.stderr))
