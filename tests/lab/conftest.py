"""The real nodes that every test of this folder shares: one lab, up for the session, down at its end."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.lab import Lab
from labctl.lab.lab import existing
from labctl.node.api import Node

ROOT = Path(__file__).resolve().parents[2]
NODES = {"master": ["masters", "storage"], "worker1": ["workers"], "worker2": ["workers"]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("lab")


def _spec(name: str, path: str, nodes) -> SimpleNamespace:
    return SimpleNamespace(name=name, path=Path(path), nodes={node: {} for node in nodes}, mark=None)


def _alive(pid: str) -> bool:
    return Path("/proc", pid).exists()


def _remove_leftovers() -> None:
    """Labs of test sessions that were killed."""
    for _folder, known in list(existing()):
        if (known.instance or "").startswith("test-") and not _alive(known.instance.split("-")[1]):
            Lab(_spec(known.name, known.path, known.nodes), instance=known.instance).down()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    _remove_leftovers()
    made = Lab(_spec("lab", str(ROOT / "inventories/lab/lab.yml"), NODES), instance=f"test-{os.getpid()}")
    owner = os.getpid()

    def down() -> None:
        if os.getpid() == owner:
            made.down()

    atexit.register(down)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        made.up(lambda message, _fraction: print(message, file=sys.stderr))
        yield made
    finally:
        down()
        atexit.unregister(down)
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def connections(lab: Lab):
    from labctl.ssh import Connections

    opened = Connections()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def node(lab: Lab, connections) -> Callable[[str], Node]:
    """`node("worker1")`: that node as root, over SSH and its agent."""
    from labctl.ssh import ConnectionSettings

    def get(name: str) -> Node:
        return connections.node(ConnectionSettings.from_variables(name, lab.connection(name)))

    return get


@pytest.fixture(scope="session")
def inventory_file(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory of this session's nodes, for the command line: plain hosts, no `plugin: lab`."""
    import yaml

    groups: dict[str, dict] = {}
    for name, members in NODES.items():
        for group in members:
            groups.setdefault(group, {"hosts": {}})["hosts"][name] = {}
    hosts = {name: lab.connection(name) for name in NODES}
    variables = yaml.safe_load((ROOT / "inventories/lab/group_vars/all.yml").read_text())
    path = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups, "vars": variables}}))
    return path


@pytest.fixture(scope="session")
def labctl() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`labctl("run", "playbook.yml", …)`: the command line in a process of its own."""

    def call(*arguments: object, timeout: float = 240, **options) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "labctl", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **{"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, **options},
        )

    return call


@pytest.fixture(scope="session")
def training_image(node) -> str:
    """The training pod's image, on both workers; its name."""
    import tempfile

    from labctl.paths import cache_dir
    from labctl.pods import images
    from labctl.pods.recipe import load_recipe

    recipe = load_recipe(ROOT / "workloads/training-pod/recipe.yml")
    image = images.build(recipe, cache_dir(), lambda message, _fraction: print(message, file=sys.stderr))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        images.archive(image, image.blobs, archive)
        for worker in ("worker1", "worker2"):
            here = node(worker).call("images", "missing", name=image.name, digest=image.digest, blobs=[])
            if not here["present"]:
                node(worker).put(archive, "/var/tmp/image.tar")
                node(worker).call(
                    "images", "load", path="/var/tmp/image.tar", name=image.name, digest=image.digest
                )
    return image.name
