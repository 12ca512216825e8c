"""What the lab asks of this machine: programs, root, and the apt packages that bring them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from labctl.errors import EnvironmentProblem

Progress = Callable[[str, float | None], None]

ALTERNATIVES = (
    "name another inventory (-i): hosts you reach over SSH, or Vagrant machines (inventories/vagrant);"
    " or run labctl as root on a Debian or Ubuntu machine"
)

PACKAGES: Mapping[str, str] = {
    "lxc-start": "lxc",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
BUILD_PACKAGES: Mapping[str, str] = {
    "mmdebstrap": "mmdebstrap",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}


def environment() -> dict[str, str]:
    """The caller's environment, with untranslated messages, the system folders on PATH, and no questions."""
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    path = ":".join(dict.fromkeys(folder for folder in folders if folder))
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}


def run(
    argv: Sequence[str], *, timeout: float = 60.0, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it says. With `check`, a failure is an EnvironmentProblem holding its words."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=environment(),
            check=False,
        )
    except FileNotFoundError:
        raise EnvironmentProblem(f"the program '{argv[0]}' is not on this machine") from None
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(f"'{' '.join(argv)}' did not end within {timeout:g} s") from None
    if check and done.returncode:
        raise EnvironmentProblem(f"'{' '.join(argv)}' failed: {last_words(done.stderr or done.stdout)}")
    return done


def last_words(text: str, lines: int = 3) -> str:
    """The last lines a program wrote, on one line."""
    kept = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return "; ".join(kept) or "it said nothing"


def require_root() -> None:
    """The embedded lab makes containers, a bridge and mounts: EnvironmentProblem when we may not."""
    if sys.platform != "linux":
        raise EnvironmentProblem("the embedded lab needs Linux", hint=ALTERNATIVES)
    if os.geteuid() != 0:
        raise EnvironmentProblem(
            "the embedded lab starts containers on this machine and needs root", hint=ALTERNATIVES
        )


def missing(packages: Mapping[str, str]) -> list[str]:
    """The packages whose program (or file) is not here."""
    path = environment()["PATH"]
    return sorted(
        {
            package
            for program, package in packages.items()
            if not (Path(program).exists() if program.startswith("/") else shutil.which(program, path=path))
        }
    )


def install(packages: Iterable[str], progress: Progress) -> None:
    """Install packages by name, without recommended ones, after saying so."""
    names = sorted(packages)
    if not names:
        return
    if not shutil.which("apt-get"):
        raise EnvironmentProblem(
            f"the embedded lab needs {', '.join(names)}, and this machine has no apt to install them",
            hint=ALTERNATIVES,
        )
    progress(f"installing with apt: {' '.join(names)}", None)
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", "install"]
    update = run(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update"], timeout=600, check=False)
    done = run([*command, *names], timeout=1200, check=False)
    if done.returncode:
        words = last_words(done.stderr or done.stdout)
        if update.returncode:
            words += f" (before that, apt-get update failed: {last_words(update.stderr)})"
        raise EnvironmentProblem(f"apt could not install {', '.join(names)}: {words}", hint=ALTERNATIVES)
    if still := sorted(set(missing({**PACKAGES, **BUILD_PACKAGES})) & set(names)):
        raise EnvironmentProblem(f"apt installed {', '.join(still)}, but what they bring is not there")


def load_nfs() -> None:
    """Let the kernel load NFS, where it has it as modules: a node cannot load them for itself."""
    known = Path("/proc/filesystems").read_text().split()
    for module in ("nfs", "nfsd"):
        if module not in known and shutil.which("modprobe", path=environment()["PATH"]):
            run(["modprobe", "-q", module], check=False)
