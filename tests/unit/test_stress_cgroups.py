"""A container's cgroups, found and joined: hand-written trees of cgroup v1, v2 and hybrid machines, and one
recorded on a v2 host."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl.paths import builtin

PID = 4242
V1 = "11:memory:{0}\n7:cpu,cpuacct:{0}\n6:freezer:{0}\n5:pids:{0}\n1:name=systemd:{0}\n0::{1}\n"
MINE = "/system.slice/ssh.service"
KUBE = "/kubepods.slice/kubepods-burstable.slice/cri-containerd-77.scope"


def mount(tree: Path, name: str, kind: str, options: str, root: str = "/") -> str:
    return f"30 24 0:26 {root} {tree}/sys/{name} rw,nosuid shared:9 - {kind} {kind} rw,{options}\n"


class Machine:
    def __init__(self, tree: Path) -> None:
        self.tree = tree
        for folder in (f"proc/{PID}", "proc/self"):
            (tree / folder).mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def memberships(self, theirs: str, mine: str) -> None:
        self.write(f"proc/{PID}/cgroup", theirs)
        self.write("proc/self/cgroup", mine)

    def cgroup(self, name: str, **files: str) -> None:
        self.write(f"sys/{name}/cgroup.procs", "")
        for file, text in files.items():
            self.write(f"sys/{name}/{file.replace('__', '.')}", text + "\n")

    def joined(self) -> set[str]:
        base = self.tree / "sys"
        found = base.rglob("cgroup.procs")
        return {str(path.parent.relative_to(base)) for path in found if path.read_bytes() == b"0"}


@pytest.fixture
def load_stressor(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """`load_stressor("cgroups")`: that module of the stressors, in this process."""
    monkeypatch.syspath_prepend(builtin("collectors"))
    return lambda name: importlib.import_module(f"stress.{name}")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def v2(machine: Machine) -> Machine:
    machine.memberships(f"0::{KUBE}\n", f"0::{MINE}\n")
    machine.write(
        "proc/self/mountinfo", mount(machine.tree, "", "cgroup2", "nsdelegate").replace("sys/ ", "sys ")
    )
    machine.cgroup(
        KUBE[1:],
        memory__max="max",
        memory__events="low 0\nhigh 3\nmax 40\noom 2\noom_kill 5\noom_group_kill 1",
        pids__max="100",
    )
    machine.cgroup("kubepods.slice/kubepods-burstable.slice", memory__max="536870912", pids__max="max")
    machine.cgroup("kubepods.slice", memory__max="8589934592", pids__max="40")
    machine.cgroup("", memory__max="1")  # a real root has no such file; it must not be asked
    return machine


@pytest.fixture
def v1(machine: Machine) -> Machine:
    machine.memberships(V1.format("/labctl/shop.web", "/"), V1.format("/", "/"))
    tree = machine.tree
    text = mount(tree, "", "tmpfs", "mode=755") + mount(tree, "systemd", "cgroup", "name=systemd")
    for name in ("memory", "cpu,cpuacct", "freezer", "pids"):
        text += mount(tree, name, "cgroup", name)
        machine.cgroup(f"{name}/labctl/shop.web")
    machine.write("proc/self/mountinfo", text)
    machine.cgroup("systemd/labctl/shop.web")
    machine.cgroup(
        "memory/labctl/shop.web",
        memory__limit_in_bytes="9223372036854771712",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3",
    )
    machine.cgroup("memory/labctl", memory__limit_in_bytes="268435456")
    machine.cgroup("pids/labctl/shop.web", pids__max="max")
    return machine


def cgroups(load_stressor: Any, machine: Machine) -> Any:
    return load_stressor("cgroups").Cgroups(PID, str(machine.tree / "proc"))


def test_on_v2_the_one_cgroup_is_joined(v2: Machine, load_stressor: Any) -> None:
    found = cgroups(load_stressor, v2)
    assert found.directories() == {"unified": f"{v2.tree}/sys{KUBE}"}
    found.join()
    assert v2.joined() == {KUBE[1:]}


def test_limits_and_kills_on_v1(v1: Machine, load_stressor: Any) -> None:
    found = cgroups(load_stressor, v1)
    assert (found.limit("memory"), found.limit("pids")) == (268435456, None)
    assert found.oom_kills() == 3


def test_limits_and_kills_on_v2(v2: Machine, load_stressor: Any) -> None:
    found = cgroups(load_stressor, v2)
    assert (found.limit("memory"), found.limit("pids")) == (536870912, 40)
    assert found.oom_kills() == 5
    (v2.tree / f"sys{KUBE}/memory.events").write_text("low 0\noom 2\n")
    assert found.oom_kills() is None


def test_on_v1_every_controller_is_joined_but_the_freezer(v1: Machine, load_stressor: Any) -> None:
    found = cgroups(load_stressor, v1)
    assert set(found.directories()) == {"memory", "cpu,cpuacct", "pids"}
    found.join()
    assert v1.joined() == {f"{name}/labctl/shop.web" for name in ("memory", "cpu,cpuacct", "pids")}


def test_on_a_hybrid_machine_the_unified_one_is_joined_too(v1: Machine, load_stressor: Any) -> None:
    v1.memberships(V1.format("/labctl/shop.web", "/labctl/shop.web"), V1.format("/", "/"))
    path = v1.tree / "proc/self/mountinfo"
    path.write_text(path.read_text() + mount(v1.tree, "unified", "cgroup2", "nsdelegate"))
    v1.cgroup("unified/labctl/shop.web")
    cgroups(load_stressor, v1).join()
    assert "unified/labctl/shop.web" in v1.joined()
    assert len(v1.joined()) == 4


def test_a_mount_that_shows_a_part_of_the_hierarchy_is_seen_from_there(
    v2: Machine, load_stressor: Any
) -> None:
    text = mount(v2.tree, "part", "cgroup2", "rw", "/kubepods.slice") + mount(
        v2.tree, "other", "cgroup2", "rw", "/kube"
    )
    v2.write("proc/self/mountinfo", text)
    v2.cgroup("part/kubepods-burstable.slice/cri-containerd-77.scope")
    cgroups(load_stressor, v2).join()
    assert v2.joined() == {"part/kubepods-burstable.slice/cri-containerd-77.scope"}


def test_spaces_in_a_mount_point_are_read(v2: Machine, load_stressor: Any) -> None:
    v2.cgroup(f"my cgroups{KUBE}")
    v2.write("proc/self/mountinfo", mount(v2.tree, r"my\040cgroups", "cgroup2", "rw"))
    cgroups(load_stressor, v2).join()
    assert v2.joined() == {f"my cgroups{KUBE}"}


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (MINE, "is in no cgroup of its own"),
        ("/../other", "is outside of what this node sees"),
        ("/gone", "is in no cgroup"),
    ],
)
def test_what_cannot_be_joined_is_said(v2: Machine, load_stressor: Any, theirs: str, words: str) -> None:
    v2.memberships(f"0::{theirs}\n", f"0::{MINE}\n")
    with pytest.raises(load_stressor("cgroups").NoContainer, match=words):
        cgroups(load_stressor, v2)


def test_inside_a_container_its_limit_is_what_counts(v2: Machine, load_stressor: Any) -> None:
    v2.write("proc/meminfo", "MemTotal:        4194304 kB\nMemAvailable:    1048576 kB\n")
    inside, refusal = cgroups(load_stressor, v2), load_stressor("guard").refusal
    plan = {"memory": {"workers": 4, "size": 2 << 30}}
    proc = str(v2.tree / "proc")
    assert refusal(plan, inside, 0.05, proc) is None  # 512 MiB is all it will get
    assert "8 GiB is more than the node can give: 819.2 MiB" in refusal(plan, None, 0.05, proc)
    (v2.tree / f"sys{Path(KUBE).parent}/memory.max").write_text("max\n")
    (v2.tree / "sys/kubepods.slice/memory.max").write_text("max\n")
    assert "8 GiB is more than the node can give" in refusal(plan, inside, 0.05, proc)


def test_a_real_v2_host(v2_host: Path, load_stressor: Any) -> None:
    kills = {}
    for state in ("idle", "throttled", "oom", "pids"):
        mounts = v2_host / state / "proc/self/mountinfo"
        mounts.write_text(mounts.read_text().replace("/sys/fs/cgroup", str(v2_host / state / "sys")))
        found = load_stressor("cgroups").Cgroups(94, str(v2_host / state / "proc"))
        container = v2_host / state / "sys/labctl/shop.web"
        assert found.directories() == {"unified": str(container)}
        assert (found.limit("memory"), found.limit("pids")) == (64 << 20, 40)
        kills[state] = found.oom_kills()
        found.join()
        assert (container / "cgroup.procs").read_text() == "0"
    assert kills == {"idle": 0, "throttled": 0, "oom": 1, "pids": 1}
