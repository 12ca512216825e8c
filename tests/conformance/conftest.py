"""The oracle's environment, its nodes, and one run of each tool for every bundle of cases."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.lab import Lab
from labctl.paths import cache_dir
from tests.conformance import tools
from tests.conformance.archive import archive
from tests.conformance.cases import Bundle, Case, bundles
from tests.conformance.tools import ORACLE, ROOT, Run

_LOCK = Path(__file__).with_name("requirements.lock")


def _install(folder: Path) -> None:
    """ansible-core and what it needs, in an environment of its own."""
    building = folder.with_name(f"{folder.name}.{os.getpid()}")
    python = building / "bin/python"
    if shutil.which("uv"):
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, building], check=True)
        pip = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    else:
        subprocess.run([sys.executable, "-m", "venv", building], check=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, "--require-hashes", "-r", _LOCK], check=True)
    (folder.parent / f"{folder.name}.path").write_text(str(building))


@pytest.fixture(scope="session")
def oracle_python() -> Path:
    """The Python of an environment that holds ansible-core; made once for each lock file. Its processes need
    /dev/shm, which a bare machine may lack."""
    if os.geteuid() == 0 and not Path("/dev/shm").exists():
        Path("/dev/shm").mkdir(mode=0o1777)
        atexit.register(shutil.rmtree, "/dev/shm", ignore_errors=True)
    key = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_dir() / f"oracle-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    marker = folder.parent / f"{folder.name}.path"
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or not Path(marker.read_text(), "bin/ansible-playbook").exists():
            _install(folder)
    return Path(marker.read_text()) / "bin/python"


def _serve(lab: Lab, names: Iterable[str]) -> None:
    """Put the archive where the nodes' apt finds it, and onto them what ansible-core's modules import and call."""
    folder = archive(lab.container(next(iter(names))).rootfs)
    shutil.copytree(folder, lab.shared / "archive")
    shutil.copy(ORACLE / "sitecustomize.py", lab.shared)
    source = "deb [trusted=yes] file:/srv/shared/archive ./"
    script = (
        f"echo '{source}' > /etc/apt/sources.list && apt-get -q update"
        " && apt-get -q -y install python3-apt python3-debian python3-packaging gpg"
        " && cp /srv/shared/sitecustomize.py /etc/python3.*/"
    )
    for name in names:
        subprocess.run(
            ["lxc-attach", *lab.container(name).lxc("")[1:], "--clear-env", "--", "sh", "-c", script],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def pair() -> Iterator[dict[str, dict[str, Any]]]:
    """Two equal nodes, one for each tool: the inventory variables that reach them."""
    names = {"oracle": {}, "labctl": {}}
    spec = SimpleNamespace(name="pair", path=ROOT / "tests/conformance/conftest.py", nodes=names, mark=None)
    lab = Lab(spec, instance=f"test-{os.getpid()}-pair")
    owner = os.getpid()

    def down() -> None:
        if os.getpid() == owner:
            lab.down()

    atexit.register(down)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        lab.up(lambda message, _fraction: print(message, file=sys.stderr))
        _serve(lab, names)
        yield {name: lab.connection(name) for name in names}
    finally:
        down()
        atexit.unregister(down)
        signal.signal(signal.SIGTERM, before)


def _node_inventory(variables: dict[str, Any]) -> str:
    ssh = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={variables['labctl_known_hosts']}"
    words = [f"{key}={value}" for key, value in variables.items() if key.startswith(("ansible_", "labctl_"))]
    return f"one {' '.join(words)} ansible_ssh_common_args='{ssh}'\n"


@dataclass
class Outcome:
    """What one tool made of a bundle: the real run, and of labctl a second one and the dry run before them."""

    folder: Path
    run: Run
    again: Run | None = None
    check: Run | None = None


class Sessions:
    """Runs every bundle at most once with either tool; the oracle's runs go on in the background."""

    def __init__(
        self, python: Path, base: Path, wanted: list[Bundle], request: pytest.FixtureRequest
    ) -> None:
        self._python = python
        self._base = base
        self._request = request
        self._pool = ThreadPoolExecutor(2)
        self._node_pool = ThreadPoolExecutor(1)  # one after the other on the oracle's node, in labctl's order
        self._labctl: dict[Bundle, Outcome] = {}
        self._oracle: dict[Bundle, Future[Outcome]] = {}
        for bundle in wanted:
            if not bundle.nodes:
                self._oracle[bundle] = self._pool.submit(self._run_oracle, bundle)
        for bundle in wanted:
            if bundle.nodes:
                assert self._pair  # the others run while the nodes come up
                self._oracle[bundle] = self._node_pool.submit(self._run_oracle, bundle)

    @cached_property
    def _pair(self) -> dict[str, dict[str, Any]]:
        return self._request.getfixturevalue("pair")

    def _more(self, bundle: Bundle, tool: str) -> dict[str, str]:
        return {"inventory": _node_inventory(self._pair[tool])} if bundle.nodes else {}

    def _run_oracle(self, bundle: Bundle) -> Outcome:
        folder = self._base / "oracle" / bundle.name
        more = self._more(bundle, "oracle")
        return Outcome(folder, tools.oracle(self._python, folder, bundle, bundle.cases, **more))

    def oracle(self, bundle: Bundle) -> Outcome:
        return self._oracle[bundle].result()

    def labctl(self, bundle: Bundle) -> Outcome:
        if bundle not in self._labctl:
            folder = self._base / "labctl" / bundle.name
            more = self._more(bundle, "labctl")
            dry = None
            if chosen := bundle.chosen("check"):
                dry = tools.labctl(folder, bundle, chosen, check=True, **more)
            outcome = Outcome(folder, tools.labctl(folder, bundle, bundle.cases, **more), check=dry)
            if chosen := bundle.chosen("again"):
                outcome.again = tools.labctl(folder, bundle, chosen, **more)
            self._labctl[bundle] = outcome
        return self._labctl[bundle]

    def close(self) -> None:
        for pool in (self._pool, self._node_pool):
            pool.shutdown(wait=True, cancel_futures=True)


@pytest.fixture(scope="session")
def bundle_of(request: pytest.FixtureRequest) -> dict[Case, Bundle]:
    """The process of each case that this session runs."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if hasattr(item, "callspec") and "case" in item.callspec.params
    ]
    return bundles(chosen)


@pytest.fixture(scope="session")
def sessions(
    oracle_python: Path,
    bundle_of: dict[Case, Bundle],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Sessions]:
    wanted = list(dict.fromkeys(bundle_of.values()))
    made = Sessions(oracle_python, tmp_path_factory.mktemp("conformance"), wanted, request)
    yield made
    made.close()
