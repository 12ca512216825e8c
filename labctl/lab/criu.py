"""CRIU in the nodes' root file system.

Debian's releases ship a CRIU that cannot dump a TCP socket on current kernels; 4.2.1 (in testing, then
unstable) can. Its few libraries are unpacked beside it under /opt/criu, so the release itself stays whole.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from labctl.errors import EnvironmentProblem, LabctlError
from labctl.lab import nodefiles
from labctl.lab.mirror import transport_options
from labctl.lab.system import last_words, run

SUITES = ("forky", "sid")
PACKAGES = ("criu", "libcompel1", "libnet9", "libnl-3-200")

# A testing or unstable Release file may be past its Valid-Until date on a mirror; signatures are checked.
_APT = """\
Dir::State "{work}/state";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
Dir::Etc "{work}/etc";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
APT::Sandbox::User "root";
"""


def add_criu(root: Path, archive: str) -> str:
    """Put CRIU into the root file system; its version. EnvironmentProblem when it cannot be had."""
    said: LabctlError | None = None
    for suite in SUITES:
        try:
            with tempfile.TemporaryDirectory(prefix="labctl-criu-") as work:
                _download(Path(work), root, archive, suite)
                for package in sorted(Path(work).glob("*.deb")):
                    run(["dpkg-deb", "-x", str(package), str(root / "opt/criu")])
            return _wrap(root)
        except LabctlError as error:
            shutil.rmtree(root / "opt/criu", ignore_errors=True)
            said = error
    raise said or EnvironmentProblem("no suite to take it from")


def _download(work: Path, root: Path, archive: str, suite: str) -> None:
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    keyring = root / "usr/share/keyrings/debian-archive-keyring.gpg"
    (work / "etc/sources.list").write_text(f"deb [signed-by={keyring}] {archive} {suite} main\n")
    conf = work / "apt.conf"
    conf.write_text(_APT.format(work=work) + transport_options())
    conf.chmod(0o600)
    apt = ["env", f"--chdir={work}", f"APT_CONFIG={conf}", "apt-get", "-q"]
    update = run([*apt, "update"], timeout=120, check=False)
    if update.returncode or "Err:" in update.stdout:
        raise EnvironmentProblem(f"the packages of {suite} cannot be read: {last_words(update.stderr)}")
    run([*apt, "download", *PACKAGES], timeout=120)


def _wrap(root: Path) -> str:
    libraries = next((path.parent for path in (root / "opt/criu").rglob("libcompel.so.1")), root)
    wrapper = root / "usr/local/sbin/criu"
    wrapper.write_text(nodefiles.CRIU.replace("LIBRARIES", f"/{libraries.relative_to(root)}"))
    wrapper.chmod(0o755)
    said = run(["chroot", str(root), "/usr/local/sbin/criu", "--version"]).stdout
    version = next((line.split(":")[1].strip() for line in said.splitlines() if "Version:" in line), "")
    if not version:
        raise EnvironmentProblem(f"the unpacked CRIU does not start: {last_words(said)}")
    return version
