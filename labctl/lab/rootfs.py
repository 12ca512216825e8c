"""The nodes' root file system: built once by mmdebstrap, cached by a hash of its recipe."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.errors import EnvironmentProblem, LabctlError
from labctl.lab import nodefiles
from labctl.lab.criu import add_criu
from labctl.lab.mirror import host_mirror, read_back, transport_options
from labctl.lab.system import Progress, environment, last_words, run
from labctl.records import dataclass

SUITE = "trixie"
PACKAGES = (
    "openssh-server",
    "python3",
    "containerd",
    "runc",
    "iproute2",
    "procps",
    "nfs-common",
    "nfs-kernel-server",
    "sudo",
    # what CRIU, unpacked beside the packages, is linked against
    "libprotobuf-c1",
    "libnftables1",
    "libgnutls30t64",
    "libbsd0",
)
NOT_STARTED = ("procps", "rpcbind", "nfs-common", "nfs-kernel-server", "sudo")
_DPKG = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
)
_RETRY_CRIU_AFTER = 3600.0


@dataclass(frozen=True)
class Rootfs:
    """A built root file system. `criu` is its version, or None with the reason in `no_criu`."""

    path: Path
    criu: str | None
    no_criu: str | None


def recipe_hash() -> str:
    """Changes when anything that goes into the root file system changes."""
    files = {name: value for name, value in vars(nodefiles).items() if name.isupper()}
    recipe = json.dumps([SUITE, PACKAGES, NOT_STARTED, _DPKG, files], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def cached(cache: Path) -> Rootfs | None:
    """The built root file system, when it is there."""
    path = cache / f"rootfs-{recipe_hash()}"
    return read(path) if (path / "etc/labctl-rootfs.json").is_file() else None


def read(path: Path) -> Rootfs:
    """A root file system that was built at `path`."""
    notes = json.loads((path / "etc/labctl-rootfs.json").read_text())
    return Rootfs(path, notes["criu"], notes["no_criu"])


def ensure(cache: Path, progress: Progress) -> Rootfs:
    """The root file system, built now when it is not in the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / "rootfs.lock", progress):
        found = cached(cache)
        if found and (found.criu or not _criu_due(found)):
            return found
        if found:
            return _complete(found, progress)
        for stale in cache.glob("rootfs-*.part"):
            shutil.rmtree(stale)
        return _build(cache, progress)


def _build(cache: Path, progress: Progress) -> Rootfs:
    target = cache / f"rootfs-{recipe_hash()}"
    part = target.with_suffix(".part")
    mirror = host_mirror()
    progress(f"building the nodes' root file system: Debian {SUITE}", 0.0)
    options = [f"--dpkgopt={option}" for option in _DPKG]
    with tempfile.NamedTemporaryFile("w", prefix="labctl-apt-", suffix=".conf") as conf:
        conf.write(transport_options())
        conf.flush()
        if Path(conf.name).stat().st_size:
            options.append(f"--aptopt={conf.name}")
        _mmdebstrap(
            [
                "mmdebstrap",
                "--verbose",
                "--mode=root",
                "--variant=minbase",
                "--format=directory",
                f"--include={','.join(PACKAGES)}",
                *options,
                SUITE,
                str(part),
                *([mirror] if mirror else []),
            ],
            progress,
        )
    progress("adding CRIU", 0.9)
    sources = part / "etc/apt/sources.list"
    archive = mirror or read_back(sources.read_text() if sources.exists() else "")
    version, reason = _try_criu(part, archive, progress)
    progress("finishing the root file system", 0.97)
    _finish(part, archive)
    _note(part, version, reason, archive)
    part.rename(target)
    return Rootfs(target, version, reason)


class _Fractions:
    """How far mmdebstrap is, from its own words: apt names the number of packages of each of its two
    rounds, then writes a line for every one it fetches, unpacks and sets up."""

    _ROUNDS = ((0.02, 0.35), (0.37, 0.52))  # where each begins, and its share (measured)
    _STEP = re.compile(r"^(Get:\d+|Unpacking |Setting up )")

    def __init__(self) -> None:
        self.round = -1
        self.steps = 0
        self.seen = 0

    def line(self, text: str) -> float | None:
        if found := re.search(r"(\d+) newly installed", text):
            self.round = min(self.round + 1, len(self._ROUNDS) - 1)
            self.steps, self.seen = 3 * int(found.group(1)), 0
        elif self.round >= 0 and self.steps and self._STEP.match(text):
            self.seen = min(self.seen + 1, self.steps)
            start, share = self._ROUNDS[self.round]
            return start + share * self.seen / self.steps
        return None


def _mmdebstrap(argv: list[str], progress: Progress) -> None:
    fractions = _Fractions()
    words: list[str] = []
    stage = "building the nodes' root file system"
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment(),
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                text = line.strip()
                words = [*words[-400:], text]
                if step := re.match(
                    r"I: ((running|downloading|extracting|installing|cleaning) .*?)\.*$", text
                ):
                    stage = "root file system: " + step.group(1)
                fraction = fractions.line(text)
                if fraction is not None or step:
                    progress(stage, fraction)
        except BaseException:
            # mmdebstrap unmounts and ends its children when told to stop.
            process.terminate()
            process.wait()
            shutil.rmtree(argv[-1] if argv[-2] == SUITE else argv[-2], ignore_errors=True)
            raise
    if process.returncode:
        said = [word for word in words if word.startswith(("E:", "Err:", "W:"))] or words
        raise EnvironmentProblem(
            f"the nodes' root file system could not be built: {last_words(chr(10).join(said))}",
            hint="it needs a Debian archive: check this machine's network and apt sources",
        )


def _try_criu(root: Path, archive: str | None, progress: Progress) -> tuple[str | None, str | None]:
    try:
        if archive is None:
            raise EnvironmentProblem("no Debian archive is known")
        return add_criu(root, archive), None
    except LabctlError as error:
        progress(f"no CRIU, so the strategy 'live' cannot be used: {error.message}", None)
        return None, error.message


def _criu_due(found: Rootfs) -> bool:
    return time.time() - (found.path / "etc/labctl-rootfs.json").stat().st_mtime > _RETRY_CRIU_AFTER


def _complete(found: Rootfs, progress: Progress) -> Rootfs:
    """Try again what was missing; running nodes keep seeing the files they already have."""
    archive = json.loads((found.path / "etc/labctl-rootfs.json").read_text())["archive"]
    version, reason = _try_criu(found.path, archive, progress)
    _note(found.path, version, reason, archive)
    return Rootfs(found.path, version, reason)


def _note(root: Path, criu: str | None, no_criu: str | None, archive: str | None) -> None:
    notes = {"criu": criu, "no_criu": no_criu, "archive": archive, "recipe": recipe_hash()}
    part = root / "etc/labctl-rootfs.json.part"
    part.write_text(json.dumps(notes))
    part.rename(root / "etc/labctl-rootfs.json")


def _finish(root: Path, archive: str | None) -> None:
    """Put our files in, and take out what would make two nodes alike or reach for a network."""
    files = {
        "sbin/node-init": (nodefiles.INIT, 0o755),
        **{f"sbin/{name}": (nodefiles.SHUTDOWN, 0o755) for name in ("shutdown", "reboot", "poweroff")},
        "etc/init.d/containerd": (nodefiles.CONTAINERD_SERVICE, 0o755),
        "etc/ssh/sshd_config.d/10-lab.conf": (nodefiles.SSHD, 0o644),
        "etc/sudoers.d/lab": (nodefiles.SUDOERS, 0o440),
        # apt works with what a playbook gives it (a .deb, a file: source): a node has no way out.
        "etc/apt/sources.list": (f"# built from {archive or 'the default archive'}\n", 0o644),
        "etc/resolv.conf": ("", 0o644),
        "root/.bashrc": ("", 0o644),
        "root/.profile": ("", 0o644),
    }
    for name, (text, mode) in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name in ("etc/machine-id", "etc/hostname", "etc/apt/apt.conf.d/99mmdebstrap"):
        (root / name).unlink(missing_ok=True)
    for name in (nodefiles.SHARED, "/var/lib/containerd", "/var/log/pods"):
        (root / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
    inside = ["chroot", str(root)]
    run([*inside, "useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", "lab"])
    run([*inside, "update-rc.d", "containerd", "defaults"])
    for service in NOT_STARTED:
        run([*inside, "update-rc.d", service, "disable"], check=False)


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another labctl that is building the root file system", None)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
