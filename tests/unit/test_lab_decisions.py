"""What the lab decides from what it reads of a machine: networks, archives, cgroups, names, progress."""

from __future__ import annotations

import ipaddress
import random
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.errors import EnvironmentProblem, Mark, UsageError
from labctl.lab import Lab, cgroups, mirror, network, rootfs, state, system
from labctl.lab.container import Container
from labctl.lab.state import LabState
from labctl.yaml import Text


def networks(*texts):
    return [ipaddress.IPv4Network(text) for text in texts]


def silent(_message, _fraction):
    pass


# networks


@pytest.mark.parametrize("seed", range(20))
def test_a_chosen_subnet_overlaps_nothing_used(seed):
    used = networks("0.0.0.0/0", "10.64.0.0/11", "10.100.0.0/16", "172.17.0.0/16")
    subnet = network.choose_subnet(used, random.Random(seed))
    assert subnet.prefixlen == 24
    assert subnet.is_private
    assert not any(subnet.overlaps(taken) for taken in used[1:])


def test_a_vpn_over_all_of_ten_sends_the_lab_elsewhere():
    subnet = network.choose_subnet(networks("10.0.0.0/8"), random.Random(1))
    assert subnet.subnet_of(ipaddress.IPv4Network("172.16.0.0/12"))


def test_no_free_subnet_is_said():
    used = networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15")
    with pytest.raises(EnvironmentProblem, match="no private /24 is free"):
        network.choose_subnet(used, random.Random(1))


def test_addresses_of_controller_and_nodes():
    assert network.gateway("10.1.2.0/24") == "10.1.2.1"
    assert [network.address("10.1.2.0/24", index) for index in (0, 99)] == ["10.1.2.11", "10.1.2.110"]


def test_the_network_lock_keeps_a_second_lab_waiting():
    with (
        network.network_lock(),
        pytest.raises(EnvironmentProblem, match="another labctl"),
        network.network_lock(timeout=0.05),
    ):
        pytest.fail("two hold the lock")
    with network.network_lock(timeout=0.05):
        pass


# the Debian archive

_TARGETS = """\
http://security.example/debian-security/\tbookworm-security\tDebian\tmain
http://nodes.example/\tnodistro\tNode\tmain
http://mirror.example/debian/\tbookworm\tDebian\tmain
http://other.example/debian/\tbookworm\tDebian\tmain
""".splitlines()


def test_the_archive_is_the_one_the_machine_uses():
    assert mirror.choose(_TARGETS, "bookworm") == "http://mirror.example/debian"


def test_before_the_first_update_the_origin_is_empty():
    assert mirror.choose(["https://mirror.example/debian\ttrixie\t\tmain"], "trixie") == (
        "https://mirror.example/debian"
    )


@pytest.mark.parametrize(
    "line",
    [
        "cdrom://disc\tbookworm\tDebian\tmain",
        "file:/srv/debian\tbookworm\tDebian\tmain",
        "http://x.example/\tbookworm\tSomebody\tmain",
        "http://x.example/\tbookworm\tDebian\tcontrib",
        "",
    ],
)
def test_what_is_no_archive_is_not_taken(line):
    assert mirror.choose([line], "bookworm") is None


def test_the_archive_is_read_back_from_what_was_built():
    text = "# made\ndeb [signed-by=/k.gpg] http://mirror.example/debian/ trixie main\ndeb http://sec trixie-security main\n"
    assert mirror.read_back(text) == "http://mirror.example/debian"
    assert mirror.read_back("") is None


def test_os_release():
    found = mirror.os_release('NAME="Debian GNU/Linux"\nID=debian\n# c\nVERSION_CODENAME=trixie\n')
    assert (found["ID"], found["VERSION_CODENAME"]) == ("debian", "trixie")


def test_ubuntu_leaves_the_archive_to_mmdebstrap(monkeypatch):
    monkeypatch.setattr(mirror, "os_release", lambda: {"ID": "ubuntu", "VERSION_CODENAME": "noble"})
    monkeypatch.setattr(mirror, "run", lambda *_a, **_k: pytest.fail("asked apt"))
    assert mirror.host_mirror() is None


# cgroups

_HYBRID = """\
30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
_V2 = "31 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def test_hierarchies_and_their_version():
    assert cgroups.hierarchies(_V2) == [(Path("/sys/fs/cgroup"), "cgroup2")]
    assert cgroups.version(cgroups.hierarchies(_V2)) == "2"
    assert cgroups.version(cgroups.hierarchies(_HYBRID)) == "hybrid"
    assert cgroups.version(cgroups.hierarchies(_HYBRID.rsplit("32 ", 1)[0])) == "1"
    assert cgroups.version([]) == "none"


ALL = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")


@pytest.mark.parametrize(
    ("available", "enabled", "real_root", "occupied", "plan"),
    [
        (ALL, ("cpu", "cpuset", "io", "memory", "pids"), True, True, "nothing"),
        (ALL, ("memory", "pids"), True, True, "enable"),
        (ALL, (), False, False, "enable"),
        (ALL, (), False, True, "move"),
        (("pids",), (), True, True, "cannot"),
        (("cpu", "memory"), ("cpu", "memory"), False, True, "nothing"),
    ],
)
def test_how_controllers_are_handed_down(available, enabled, real_root, occupied, plan):
    assert cgroups.delegation(available, enabled, real_root=real_root, occupied=occupied) == plan


def _v2_root(tmp_path, *, container):
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    (root / "cgroup.subtree_control").write_text("")
    (root / "cgroup.procs").write_text("")
    if container:
        (root / "cgroup.type").write_text("domain\n")
    return root


@pytest.mark.parametrize("container", [False, True])
def test_prepare_enables_each_controller_on_v2(tmp_path, container):
    root = _v2_root(tmp_path, container=container)
    assert cgroups.prepare([(root, "cgroup2")]) is None
    assert (
        root / "cgroup.subtree_control"
    ).read_text() == "+pids"  # a real file of the kernel's adds them up


def test_prepare_leaves_v1_alone_and_refuses_none():
    assert cgroups.prepare([(Path("/nowhere"), "cgroup")]) is None
    with pytest.raises(EnvironmentProblem, match="no cgroup hierarchy"):
        cgroups.prepare([])


def test_only_the_labs_own_cgroups_are_removed(tmp_path):
    ours, other = tmp_path / "labctl/abc123/worker1/pods", tmp_path / "labctl/fff000"
    ours.mkdir(parents=True)
    other.mkdir(parents=True)
    found = [(tmp_path, "cgroup2")]
    assert cgroups.paths("abc123", found) == [tmp_path / "labctl/abc123"]
    cgroups._remove_tree(tmp_path / "labctl/abc123")
    assert not (tmp_path / "labctl/abc123").exists()
    assert other.exists()


# building the root file system


def test_progress_follows_apts_own_lines():
    fractions = rootfs._Fractions()
    assert fractions.line("Get:1 http://mirror.example InRelease") is None
    fractions.line("0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.")
    first = [fractions.line(text) for text in ("Get:1 a", "Get:2 b", "Unpacking a", "other", "Setting up a")]
    assert first[3] is None
    rising = [value for value in first if value is not None]
    assert rising == sorted(rising)
    fractions.line("0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.")
    last = [fractions.line(text) for text in ("Get:1 c", "Unpacking c", "Setting up c", "Setting up c")]
    assert rising[-1] < last[0] < last[2] == last[3] < 0.9


def test_the_recipe_hash_changes_with_what_goes_in(monkeypatch):
    before = rootfs.recipe_hash()
    assert before == rootfs.recipe_hash()
    monkeypatch.setattr(rootfs.nodefiles, "INIT", "#!/bin/sh\n")
    assert rootfs.recipe_hash() != before


def test_a_half_built_root_is_not_taken(tmp_path):
    (tmp_path / f"rootfs-{rootfs.recipe_hash()}").mkdir()
    assert rootfs.cached(tmp_path) is None


# this machine


def test_without_root_there_is_one_sentence_and_the_alternatives(monkeypatch):
    monkeypatch.setattr(system.os, "geteuid", lambda: 1000)
    with pytest.raises(EnvironmentProblem, match="needs root") as caught:
        system.require_root()
    assert "inventory" in (caught.value.hint or "")


def test_without_apt_the_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(system.shutil, "which", lambda *_a, **_k: None)
    assert system.missing({"lxc-start": "lxc", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}) == [
        "lxc",
        "openssh-client",
    ]
    with pytest.raises(EnvironmentProblem, match="needs lxc, and this machine has no apt"):
        system.install(["lxc"], silent)


def test_a_failing_apt_is_quoted(monkeypatch):
    said = SimpleNamespace(returncode=100, stdout="", stderr="E: Unable to locate package lxc\n")
    monkeypatch.setattr(system, "run", lambda *_a, **_k: said)
    lines = []
    with pytest.raises(EnvironmentProblem, match="Unable to locate package lxc"):
        system.install(["lxc"], lambda message, _fraction: lines.append(message))
    assert lines == ["installing with apt: lxc"]


def test_a_program_that_is_missing_fails_or_hangs_is_said():
    with pytest.raises(EnvironmentProblem, match="is not on this machine"):
        system.run(["no-such-program"])
    with pytest.raises(EnvironmentProblem, match="failed: out of luck"):
        system.run(["sh", "-c", "echo out of luck >&2; exit 3"])
    with pytest.raises(EnvironmentProblem, match="did not end within"):
        system.run(["sleep", "5"], timeout=0.05)


# the lab's own state


def _spec(*names, path="/x/lab.yml", name="lab"):
    mark = Mark(path, 3, 1)
    return SimpleNamespace(path=Path(path), name=name, nodes={node: {} for node in names}, mark=mark)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCTL_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LABCTL_CACHE", str(tmp_path / "cache"))
    return lambda *names, **keys: Lab(_spec(*names), **keys)


@pytest.mark.parametrize("name", ["Worker", "a_b", "-a", "a" * 33, "ü"])
def test_a_name_no_node_can_have_is_refused_with_its_place(lab, name):
    marked = Text(name, Mark("lab.yml", 7, 3))
    with pytest.raises(UsageError, match="cannot name a lab node") as caught:
        lab(marked)._check_spec()
    assert caught.value.mark == Mark("lab.yml", 7, 3)


def test_a_folder_no_overlay_can_use_is_refused(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("LABCTL_STATE", str(tmp_path / "a:b"))
    with pytest.raises(EnvironmentProblem, match="overlay root") as caught:
        lab("one")._check_spec()
    assert "LABCTL_STATE" in (caught.value.hint or "")


def test_instances_and_inventories_have_folders_of_their_own(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("LABCTL_STATE", str(tmp_path))
    folders = {
        lab("a").folder,
        lab("a", instance="test-1").folder,
        Lab(_spec("a", path="/y/lab.yml")).folder,
        Lab(_spec("a", name="other")).folder,
    }
    assert len(folders) == 4


def test_a_lab_that_was_never_made(lab):
    made = lab("one", "two")
    assert [(node.name, node.state, node.ssh) for node in made.status()] == [
        ("one", "MISSING", False),
        ("two", "MISSING", False),
    ]
    with pytest.raises(EnvironmentProblem, match="not up"):
        made.connection("one")


def test_state_survives_and_half_a_state_counts_as_none(tmp_path):
    known = LabState("abc123", "lab", "/x", None, ["a"], "/r", "br", "10.0.0.0/24")
    known.save(tmp_path)
    assert state.load(tmp_path) == known
    (tmp_path / "lab.json").write_text('{"id": "abc')
    assert state.load(tmp_path) is None


def test_a_removed_lock_does_not_let_two_in(tmp_path):
    """One holder removes the lock's file while another waits for it."""
    folder, order, first_in, may_leave = tmp_path / "lab", [], threading.Event(), threading.Event()
    waits = threading.Event()

    def first():
        with state.locked(folder, silent) as path:
            first_in.set()
            may_leave.wait(10)
            order.append("first leaves")
            path.unlink()

    def second():
        with state.locked(folder, lambda *_: waits.set()):
            order.append("second enters")
            assert (tmp_path / "lab.lock").exists()

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert first_in.wait(10)
    threads[1].start()
    assert waits.wait(10)
    may_leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first leaves", "second enters"]


def test_a_nodes_names_hold_the_labs_id_and_fit_the_kernel():
    node = Container(
        "abc123", "worker-with-a-long-name", 99, Path("/f"), Path("/r"), Path("/s"), "br", "10.0.0.1"
    )
    assert "abc123" in node.lxc_name
    assert len(node.veth) <= 15
    assert node.mac == "02:ab:c1:23:00:63"
