"""A package archive for the nodes, which reach no other: real Debian packages, as a flat repository."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from labctl.lab import rootfs
from labctl.lab.mirror import transport_options
from labctl.paths import cache_dir

PACKAGES = (
    "python3-apt",  # what ansible-core's apt works with
    "python3-debian",
    "python3-packaging",
    "gpg",
    "python3-venv",
    "cron",
    "iptables",
    "unzip",
    "tree",
    "hello",
    "sl",
)
_APT = """\
Dir::State "{work}/state";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Cache "{work}/cache";
Dir::Etc "{work}/etc";
Acquire::Languages "none";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
"""


def _download(work: Path, root: Path) -> list[Path]:
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (work / folder).mkdir(parents=True)
    archive = json.loads((root / "etc/labctl-rootfs.json").read_text())["archive"]
    keyring = (root / "usr/share/keyrings/debian-archive-keyring.gpg").resolve()
    (work / "etc/sources.list").write_text(f"deb [signed-by={keyring}] {archive} {rootfs.SUITE} main\n")
    conf = work / "apt.conf"
    conf.write_text(_APT.format(work=work, root=root) + transport_options())
    apt = ["env", f"APT_CONFIG={conf}", "apt-get", "-q", "-y"]
    for command in (["update"], ["install", "--download-only", *PACKAGES]):
        subprocess.run([*apt, *command], check=True, capture_output=True, text=True, timeout=300)
    return sorted((work / "cache/archives").glob("*.deb"))


def index(folder: Path) -> str:
    """The text of the Packages file of the packages in a folder."""
    stanzas = []
    for path in sorted(folder.glob("*.deb")):
        said = subprocess.run(["dpkg-deb", "-f", path], check=True, capture_output=True, text=True)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        place = f"Filename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\n"
        stanzas.append(said.stdout.rstrip("\n") + "\n" + place)
    return "\n".join(stanzas)


def archive(root: Path) -> Path:
    """The folder of the repository for nodes of this root file system; fetched once."""
    key = hashlib.sha256(" ".join((root.name, *PACKAGES)).encode()).hexdigest()[:12]
    folder = cache_dir() / f"archive-{key}"
    with (cache_dir() / f"archive-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="archive.") as work:
                part = Path(work, "archive")
                part.mkdir()
                for path in _download(Path(work), root):
                    path.rename(part / path.name.replace("%3a", "."))
                (part / "Packages").write_text(index(part))
                part.rename(folder)
    return folder
