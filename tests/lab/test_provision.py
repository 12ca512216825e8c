"""Packages, services, mounts, containerd and the provisioning playbook, on real nodes."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.engine.driver import execute
from labctl.events import Status
from labctl.task_types import Registry

ROOT = Path(__file__).parents[2]
REGISTRY = Registry()
REPOSITORY = "/srv/labctl-test-repository"
SOURCES = "/etc/apt/sources.list.d/labctl-test.list"


@pytest.fixture
def do(node, tmp_path):
    """`do("worker1", "apt", name="x")`: one task on a real node."""

    def call(host, task, *, check=False, diff=False, timeout=120, **arguments):
        task_type = REGISTRY.get(task)
        ctx = SimpleNamespace(
            node=node(host),
            host=host,
            check=check,
            diff=diff,
            run_dir=tmp_path,
            mark=None,
            timeout=timeout,
            environment={},
            output=lambda _stream, _text: None,
            progress=lambda *_: None,
        )
        return execute(task_type, task_type.bind(arguments, lambda _name: None), ctx)

    return call


def build_package(folder, name, version, depends=""):
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share" / name).mkdir(parents=True)
    (tree / "usr/share" / name / "version").write_text(version)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: test <test@localhost>\n"
    control += f"Depends: {depends}\n" if depends else ""
    (tree / "DEBIAN/control").write_text(f"{control}Description: test\n")
    target = folder / f"{name}_{version}_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target, control


def index(packages):
    """The Packages file of a flat repository."""
    import hashlib

    stanzas = []
    for path, control in packages:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        stanzas.append(
            f"{control}Filename: ./{path.name}\nSize: {path.stat().st_size}\nSHA256: {digest}\nDescription: test\n"
        )
    return "\n".join(stanzas).encode()


@pytest.fixture
def repository(node, tmp_path):
    """A package source on worker1: `lt-one` 1.0 and 2.0 (needs lt-base), `lt-base` 1.0."""
    one = node("worker1")
    packages = [
        build_package(tmp_path, "lt-base", "1.0"),
        build_package(tmp_path, "lt-one", "1.0", "lt-base"),
        build_package(tmp_path, "lt-one", "2.0", "lt-base"),
    ]
    one.mkdir(REPOSITORY)
    for path, _control in packages:
        one.put(path, f"{REPOSITORY}/{path.name}")
    one.write(f"{REPOSITORY}/Packages.gz", gzip.compress(index(packages)))
    one.write(SOURCES, f"deb [trusted=yes] file:{REPOSITORY} ./\n".encode())
    try:
        yield [path.name for path, _control in packages]
    finally:
        one.run(["dpkg", "--purge", "lt-one", "lt-base"])
        one.remove(SOURCES)
        one.remove(REPOSITORY)
        one.run(["apt-get", "-q", "update"])


def test_packages_come_stay_upgrade_and_go(do, node, repository):
    one = node("worker1")
    first = do("worker1", "apt", name="lt-one=1.*", update_cache=True)
    assert first.status is Status.CHANGED, first.values
    assert one.read("/usr/share/lt-one/version") == b"1.0"

    trips = one.round_trips
    assert do("worker1", "apt", name=["lt-one", "lt-base"]).status is Status.OK
    assert one.round_trips - trips == 1

    dry = do("worker1", "apt", name="lt-one", state="latest", check=True, diff=True)
    assert (dry.status, dry.diff[0]["before"], dry.diff[0]["after"]) == (
        Status.CHANGED,
        "lt-one 1.0\n",
        "lt-one 2.0\n",
    )
    assert one.read("/usr/share/lt-one/version") == b"1.0"
    assert do("worker1", "apt", name="lt-one", state="latest").status is Status.CHANGED
    assert do("worker1", "apt", name="lt-one", state="latest").status is Status.OK

    dry = do("worker1", "apt", name="lt-base", state="absent", check=True, diff=True)
    assert dry.diff[0]["before"] == "lt-base\nlt-one\n"
    gone = do("worker1", "apt", name="lt-base", state="absent")
    assert gone.status is Status.CHANGED
    assert do("worker1", "apt", name=["lt-one", "lt-base"], state="absent").status is Status.OK


def test_a_package_file_is_installed_with_what_it_needs(do, node, repository):
    file = f"{REPOSITORY}/{repository[1]}"
    node("worker1").run(["apt-get", "-q", "update"])
    assert do("worker1", "apt", deb=file).status is Status.CHANGED
    assert node("worker1").read("/usr/share/lt-base/version") == b"1.0"
    assert do("worker1", "apt", deb=file).status is Status.OK
    bad = do("worker1", "apt", deb="/etc/hostname")
    assert bad.status is Status.FAILED
    assert "/etc/hostname cannot be installed" in bad.values["msg"]


def test_a_package_nobody_has(do):
    for check in (False, True):
        result = do("worker2", "package", name="no-such-package", check=check)
        assert result.status is Status.FAILED
        assert "No package matching 'no-such-package' is available" in result.values["msg"]


def test_apt_waits_while_another_holds_the_lock(do, node, repository):
    """The lock's holder lets go when it sees that somebody waits for it."""
    one = node("worker1")
    one.run(["apt-get", "-q", "update"])
    holder = b"""
import fcntl, os, time
locks = [os.open(p, os.O_RDWR | os.O_CREAT) for p in ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")]
for lock in locks:
    fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
def waiting():
    for name in os.listdir("/proc"):
        try:
            if b"lt-base" in open("/proc/%s/cmdline" % name, "rb").read():
                return True
        except OSError:
            pass
    return False
while not waiting():
    time.sleep(0.05)
time.sleep(0.5)
print("released", flush=True)
"""
    lines = []
    import threading

    held = threading.Event()

    def line(text):
        lines.append(text)
        held.set()

    stream = one.start(holder, [], line=line, name="holder")
    assert held.wait(20)
    result = do("worker1", "apt", name="lt-base", lock_timeout=60)
    stream.wait(20)
    assert (result.status, lines) == (Status.CHANGED, ["held", "released"])


def test_a_service_stops_starts_and_is_disabled(do, node):
    two = node("worker2")
    try:
        assert do("worker2", "service", name="containerd", state="started", enabled=True).status is Status.OK
        assert (
            do("worker2", "service", name="containerd", state="stopped", check=True).status is Status.CHANGED
        )
        assert two.run(["service", "containerd", "status"]).rc == 0
        assert (
            do("worker2", "service", name="containerd", state="stopped", enabled=False).status
            is Status.CHANGED
        )
        assert two.run(["service", "containerd", "status"]).rc == 3
        again = do("worker2", "service", name="containerd", state="stopped", enabled=False)
        assert again.status is Status.OK
    finally:
        back = do("worker2", "service", name="containerd", state="started", enabled=True)
    assert (back.status, back.values["state"], back.values["enabled"]) == (
        Status.CHANGED,
        "started",
        True,
    )
    assert two.run(["ctr", "version"]).rc == 0


def test_a_started_service_outlives_the_connection(do, lab, connections):
    from labctl.ssh import Connections, ConnectionSettings

    settings = ConnectionSettings.from_variables("worker2", lab.connection("worker2"))
    own = Connections()
    node = own.node(settings)
    node.run(["service", "containerd", "restart"])
    pid = node.read("/run/containerd.pid").decode().strip()
    own.close()
    assert connections.node(settings).stat(f"/proc/{pid}") is not None


def test_a_misspelt_service(do):
    result = do("worker1", "service", name="containrd", state="started")
    assert "did you mean 'containerd'" in result.values["msg"]


def test_a_file_system_is_mounted_remounted_and_taken_away(do, node):
    one = node("worker1")
    before = one.read("/etc/fstab") if one.stat("/etc/fstab") else b""
    keys = {"path": "/mnt/labctl test", "src": "tmpfs", "fstype": "tmpfs"}
    try:
        assert (
            do("worker1", "mount", state="mounted", opts="size=1m", check=True, **keys).status
            is Status.CHANGED
        )
        assert one.stat("/mnt/labctl test") is None
        assert do("worker1", "mount", state="mounted", opts="size=1m", **keys).status is Status.CHANGED
        assert one.run(["mountpoint", "-q", "/mnt/labctl test"]).rc == 0
        assert do("worker1", "mount", state="mounted", opts="size=1m", **keys).status is Status.OK
        assert do("worker1", "mount", state="mounted", opts="size=2m", **keys).status is Status.CHANGED
        assert "size=2048k" in one.run(["findmnt", "-no", "OPTIONS", "/mnt/labctl test"]).text()
        assert do("worker1", "mount", path=keys["path"], state="unmounted").status is Status.CHANGED
        assert do("worker1", "mount", path=keys["path"], state="unmounted").status is Status.OK
    finally:
        gone = do("worker1", "mount", path=keys["path"], state="absent")
    assert gone.status is Status.CHANGED
    assert one.read("/etc/fstab") == before
    assert one.stat("/mnt/labctl test") is None
    assert do("worker1", "mount", path=keys["path"], state="absent").status is Status.OK


def test_a_bind_mount_is_recognised(do, node):
    keys = {"path": "/mnt/bound", "src": "/srv", "fstype": "none", "opts": "bind", "state": "ephemeral"}
    try:
        assert do("worker1", "mount", **keys).status is Status.CHANGED
        assert do("worker1", "mount", **keys).status is Status.OK
    finally:
        assert do("worker1", "mount", path="/mnt/bound", state="absent").status is Status.CHANGED


def test_a_mount_that_fails_says_why(do):
    result = do("worker1", "mount", path="/mnt/x", src="/no/device", fstype="ext4", state="ephemeral")
    assert result.status is Status.FAILED
    assert "/no/device" in result.values["msg"]


def test_control_groups_are_the_machines_own(do):
    result = do("master", "cgroup_check", controllers=["cpu", "memory", "pids"])
    assert result.status is Status.OK
    assert result.values["version"] in ("v1", "v2", "hybrid")


def test_containerd_settings_come_and_stay(do, node):
    one = node("worker1")
    before = one.read("/etc/containerd/config.toml")
    try:
        assert do("worker1", "containerd", config={"debug": {"level": "warn"}}).status is Status.CHANGED
        assert b'level = "warn"' in one.read("/etc/containerd/config.toml")
        assert do("worker1", "containerd", config={"debug": {"level": "warn"}}).status is Status.OK
        assert one.run(["ctr", "version"]).rc == 0
        refused = do("worker1", "containerd", version="99.0")
        assert "99.0 or newer is required" in refused.values["msg"]
    finally:
        one.write("/etc/containerd/config.toml", before)
        one.run(["service", "containerd", "restart"])


def recap(text):
    """Host to its counts, from the last lines of a run."""
    found = {}
    for line in text.splitlines():
        host, colon, counts = line.partition(" : ")
        if colon and "changed=" in counts:
            found[host.strip()] = dict(word.split("=") for word in counts.split())
    return found


def test_provisioning_twice_changes_nothing_the_second_time(labctl, inventory_file, tmp_path):
    argv = ["run", ROOT / "playbooks/provision.yml", "-i", inventory_file]
    first = labctl(*argv, cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    dry = labctl(*argv, "--dry-run", cwd=tmp_path)
    second = labctl(*argv, cwd=tmp_path)
    for run in (dry, second):
        counts = recap(run.stdout)
        vague = any(host.get("unknown", "0") != "0" for host in counts.values())
        assert run.returncode == (3 if vague else 0), run.stdout + run.stderr
        assert set(counts) == {"master", "worker1", "worker2"}
        assert {host["changed"] for host in counts.values()} == {"0"}
    assert "Requirements of the migration test: worker1" in second.stdout
    events = next(iter(sorted((tmp_path / "runs").glob("*/events.jsonl"), reverse=True))).read_text()
    results = [json.loads(line)["data"].get("result") or {} for line in events.splitlines()]
    rows = [result["rows"] for result in results if "rows" in result]
    assert len(rows) == 3
    kernel = next(row for row in rows[0] if row["item"] == "Linux kernel")
    assert kernel["result"] in ("pass", "fail")


def test_requirements_are_fatal_only_when_enforced(labctl, inventory_file, tmp_path):
    playbook = ROOT / "playbooks/provision.yml"
    rows = json.dumps(
        {
            "enforce_requirements": True,
            "requirement_rows": [{"item": "CPU cores", "measure": "cpus", "minimum": 100000}],
        }
    )
    refused = labctl("run", playbook, "-i", inventory_file, "-e", rows, cwd=tmp_path)
    assert refused.returncode == 2
    assert "0 of 1 met, not met: CPU cores" in refused.stdout + refused.stderr
