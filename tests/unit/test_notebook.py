"""Counters and causes of death, over cgroups recorded on real machines.

`data/notebook-v1` is a notebook's container on a hybrid host (kernel 6.18), before and after the kernel killed its
Jupyter kernel for lack of memory. `data/notebook-v2` is from a virtual machine with cgroup v2 alone (kernel 6.1), one
cgroup of 64 MiB and half a processor: `idle` with one process; `oom`, after another had eaten too much; `oom-group`,
the same again with memory.oom.group; `killed`, a fresh one after kill -9 from outside; `pids`, after forks
that pids.max refused; `throttled`, after a busy loop of three seconds.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labctl.errors import PlaybookError
from labctl.node.functions import notebook_counters as counters
from labctl.node.functions import notebook_death as deaths
from labctl.node.functions import notebook_disk, notebook_guard
from labctl.node.functions.notebook_links import Lines, Link, Process, outside
from labctl.node.functions.notebook_step import responsiveness
from labctl.pods.containerd import Containerd
from labctl.pods.notebook import disk_bytes, notebook_pod
from labctl.pods.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"
SIGKILL = {"signal": 9, "exit": None}


def v1(state: str) -> dict[str, str]:
    return {path.name: str(path) for path in (DATA / "notebook-v1" / state).iterdir()}


def v2(state: str) -> dict[str, str]:
    return {"unified": str(DATA / "notebook-v2" / state)}


def risen(before: dict[str, str], after: dict[str, str]) -> dict[str, int | None]:
    return counters.risen(counters.cumulative(before), counters.cumulative(after))


RISES = {
    "v1 oom": risen(v1("idle"), v1("oom")),
    "v1 nothing": risen(v1("oom"), v1("oom")),
    "v2 oom": risen(v2("idle"), v2("oom")),
    "v2 group": risen(v2("oom"), v2("oom-group")),
    "v2 killed": risen(v2("idle"), v2("killed")),
    "v2 pids": risen(v2("killed"), v2("pids")),
}


# ------------------------------------------------------------ counters


def test_v1_counters() -> None:
    found = counters.cumulative(v1("oom"))
    nanoseconds = int((DATA / "notebook-v1/oom/cpuacct/cpuacct.usage").read_text())
    assert found["cpu_usec"] == nanoseconds // 1000
    assert found["oom_kill"] == 1
    assert found["oom_group_kill"] is None
    assert counters.oom_kill(v1("idle")) == 0
    assert counters.limits(v1("idle")) == {"cpu": 1.0, "memory": 512 * 2**20}


def test_v1_memory_of_all_below_and_the_page_cache_apart() -> None:
    found = counters.memory(v1("idle"))
    assert found["total"] == int((DATA / "notebook-v1/idle/memory/memory.usage_in_bytes").read_text())
    stat = (DATA / "notebook-v1/idle/memory/memory.stat").read_text()
    assert f"\ntotal_rss {found['anon']}\n" in stat
    assert f"\ntotal_cache {found['file']}\n" in stat
    assert 0 < found["anon"] < found["total"]
    assert found["swap"] == 0


def test_v2_counters() -> None:
    assert counters.limits(v2("idle")) == {"cpu": 0.5, "memory": 64 * 2**20}
    assert counters.oom_kill(v2("oom")) == 1
    busy = counters.cumulative(v2("throttled"))
    assert busy["nr_throttled"] > 20
    assert busy["throttled_usec"] > 1_000_000
    assert 1_000_000 < busy["cpu_usec"] < 2_500_000  # half a processor for three seconds, and its starting
    memory = counters.memory(v2("idle"))
    assert memory["total"] == int((DATA / "notebook-v2/idle/memory.current").read_text())
    assert memory["swap"] == 0
    assert memory["kernel"] > 0


def test_pressure_is_of_the_resource_and_absent_on_v1() -> None:
    line = (DATA / "notebook-v2/throttled/cpu.pressure").read_text().splitlines()[0]
    assert f"avg10={counters.pressure(v2('throttled'), 'cpu')[0]:.2f}" in line
    assert counters.pressure(v2("throttled"), "disk") == (0.0, None)
    assert counters.pressure(v1("idle"), "cpu") == (None, "cgroup v1 has no pressure of a container")


def test_without_a_kernels_pressure_files(tmp_path: Path) -> None:
    value, reason = counters.pressure({"unified": str(tmp_path)}, "memory")
    assert value is None
    assert "CONFIG_PSI" in reason


def test_what_is_not_limited_has_no_limit(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert counters.limits({"unified": str(tmp_path)}) == {"cpu": None, "memory": None}
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    both = {"cpu": str(tmp_path), "memory": str(tmp_path)}
    assert counters.limits(both) == {"cpu": None, "memory": None}


def test_a_cgroup_that_is_gone_counts_nothing() -> None:
    assert set(counters.cumulative({"unified": "/nonexistent"}).values()) == {None}
    assert set(counters.cumulative({}).values()) == {None}
    assert set(counters.memory({}).values()) == {None}
    assert set(risen(v2("idle"), {}).values()) == {None}


def test_swap_and_killing_as_one_are_set_where_they_can_be(tmp_path: Path) -> None:
    shutil.copytree(DATA / "notebook-v2/idle", tmp_path / "v2")
    paths = {"unified": str(tmp_path / "v2")}
    assert counters.without_swap(paths) == "off"
    assert (tmp_path / "v2/memory.swap.max").read_text() == "0"
    assert counters.kill_as_one(paths) is True
    assert (tmp_path / "v2/memory.oom.group").read_text() == "1"
    shutil.copytree(DATA / "notebook-v1/idle", tmp_path / "v1")
    old = {"memory": str(tmp_path / "v1/memory")}
    assert counters.without_swap(old) == "off"
    assert (tmp_path / "v1/memory/memory.memsw.limit_in_bytes").read_text() == str(512 * 2**20)
    assert counters.kill_as_one(old) is False
    assert counters.without_swap({"unified": "/nonexistent"}) == "counted"


# ------------------------------------------------------------ causes


@pytest.mark.parametrize(
    ("rise", "status", "errno", "cause"),
    [
        ("v1 oom", SIGKILL, None, "oom"),
        ("v2 oom", SIGKILL, None, "oom"),
        ("v2 oom", None, None, "oom"),  # nobody saw its status, the counter did
        ("v2 group", SIGKILL, None, "oom_group"),
        ("v1 nothing", SIGKILL, None, "killed"),
        ("v2 killed", SIGKILL, None, "killed"),
        ("v2 killed", {"signal": 11, "exit": None}, None, "killed"),
        ("v1 oom", {"signal": 15, "exit": None}, None, "killed"),  # the kernel's killer sends SIGKILL alone
        ("v1 oom", {"signal": None, "exit": 1}, None, "exit"),
        ("v2 killed", {"signal": None, "exit": 1}, "ENOSPC", "enospc"),
        ("v2 killed", {"signal": None, "exit": 1}, "ENOMEM", "exit"),
        ("v2 pids", {"signal": None, "exit": 1}, "EAGAIN", "pids"),
        ("v2 killed", {"signal": None, "exit": 1}, "EAGAIN", "exit"),
        ("v2 killed", {"signal": None, "exit": 0}, None, "exit"),
        ("v2 killed", None, None, "exit"),
    ],
)
def test_cause(rise: str, status: dict | None, errno: str | None, cause: str) -> None:
    found = deaths.death("kernel", status, RISES[rise], errno)
    assert found["cause"] == cause
    assert found["what"] == "kernel"
    assert (found["signal"], found["exit"]) == ((status or {}).get("signal"), (status or {}).get("exit"))
    assert found["oom_kill"] == RISES[rise]["oom_kill"]


def test_what_did_not_end_in_time_is_a_timeout_whatever_was_counted() -> None:
    assert deaths.death("kernel", SIGKILL, RISES["v1 oom"], None, timed_out=True)["cause"] == "timeout"


def test_a_containers_exit_code() -> None:
    assert deaths.of_container(137) == SIGKILL
    assert deaths.of_container(1) == {"signal": None, "exit": 1}
    assert deaths.of_container(0) == {"signal": None, "exit": 0}
    assert deaths.of_container(None) is None


def test_cells_without_an_answer_count_as_long_as_they_waited() -> None:
    found = responsiveness([2.0, 4.0, 3.0], [1500.0, 40.0])
    assert found == {"p50": 4.0, "p95": 1500.0, "max": 1500.0, "count": 5, "timeouts": 1}
    assert responsiveness([], []) == {"p50": None, "p95": None, "max": None, "count": 0, "timeouts": 0}


# ------------------------------------------------------------ the pod


def test_the_pod_has_the_size_asked_for_and_a_disk_of_its_own() -> None:
    pod = notebook_pod("nb", cpu="500m", memory="300Mi", disk="64Mi")
    assert pod.name == "nb"
    assert pod.container("notebook").resources.cpu_limit == 500
    assert pod.container("notebook").resources.memory_limit == 300 * 2**20
    assert pod.container("client").resources.memory_limit is None
    assert disk_bytes(pod) == 64 * 2**20
    assert {v.name: v.host_path for v in pod.volumes}["work"] == "/run/labctl/notebook/nb/disk"
    default = notebook_pod()
    assert default.container("notebook").resources.memory_limit == 512 * 2**20
    assert disk_bytes(default) == 256 * 2**20


@pytest.mark.parametrize(("disk", "words"), [("4Ki", "at least 1Mi"), ("many", "labctl/disk of pod")])
def test_a_disk_that_makes_no_sense(disk: str, words: str) -> None:
    with pytest.raises(PlaybookError, match=words):
        notebook_pod(disk=disk)


def test_a_device_whose_maker_was_killed_goes_with_its_disk(tmp_path: Path, monkeypatch) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    monkeypatch.setattr(notebook_disk, "_DEVICES", str(devices))
    monkeypatch.setattr(notebook_disk, "IMAGES", str(tmp_path / "images"))
    (devices / "loop1").touch()
    with notebook_disk._node("once", "loop1", stat.S_IFIFO, 0, 0) as path:
        assert path == str(devices / "loop1"), "the node has it"
    makers = [
        notebook_disk._node(pod, name, stat.S_IFIFO, 0, 0)
        for pod, name in (("once", "loop-control"), ("once", "loop2"), ("once.more", "loop2"))
    ]
    for maker in makers:
        maker.__enter__()  # killed before its exit
    assert len(list(devices.iterdir())) == 4
    notebook_disk.remove("once", str(tmp_path / "disk"))
    assert sorted(path.name for path in devices.iterdir()) == ["labctl-notebook-once.more.loop2", "loop1"]


@pytest.mark.parametrize("server", [False, True])
def test_the_plan_mounts_disk_and_sockets_and_names_the_recipes_image(server: bool) -> None:
    pod = notebook_pod("nb", server=server)
    plan = Containerd(lambda _host: None, ["one"], lambda _host: "").plan(pod, "one")  # type: ignore[arg-type]
    notebook, client = plan["containers"]
    assert "type=bind,src=/run/labctl/notebook/nb/disk,dst=/work,options=rbind:rw" in notebook["argv"]
    sockets = "type=bind,src=/run/labctl/pods/nb/volumes/run,dst=/run/notebook,options=rbind:rw"
    assert sockets in notebook["argv"]
    assert sockets in client["argv"]
    recipe = load_recipe(ROOT / "workloads/notebook/recipe.yml")
    assert {c.image for c in pod.containers} == {recipe.name}
    programs = {os.path.basename(path) for c in pod.containers for path in c.command[1:]}
    assert programs <= {Path(path).name for path in recipe.files}


# ------------------------------------------------------------ sockets and processes


def test_lines_go_both_ways_through_a_path_longer_than_a_sockets_may_be(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    with Lines(str(folder), "one.sock") as server, Link(str(folder), "one.sock") as link:
        peer = server.accept()
        peer.send(event="first", n=1)
        peer.send(event="second", n=2)
        peer.send(event="third", n=3)
        assert link.until("second", time.monotonic() + 5)["n"] == 2
        assert link.lines() == [{"event": "third", "n": 3}]  # what came with it is not lost
        with pytest.raises(TimeoutError):
            link.until("fourth", time.monotonic() + 0.01)
        peer.socket.close()
        with pytest.raises(EOFError):
            link.until("fourth", time.monotonic() + 5)
    assert not (folder / "one.sock").exists()


@pytest.mark.parametrize("old_python", [False, True])
def test_a_process_has_ended_when_it_is_a_zombie(monkeypatch, old_python: bool) -> None:
    if old_python:  # 3.8 has no os.pidfd_open
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    child = subprocess.Popen(["sleep", "600"])
    try:
        seen, looked_up = Process(child.pid), Process(child.pid)
        monkeypatch.setattr(looked_up, "descriptor", -1)  # a kernel without pidfds
        assert seen.descriptor >= 0
        assert not seen.ended
        assert not looked_up.ended
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert seen.ended
        assert looked_up.ended
    finally:
        child.kill()
        child.wait()
    assert Process(child.pid).ended
    seen.close()


def test_a_process_is_found_by_the_number_it_has_inside(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    assert outside({"memory": str(tmp_path)}, os.getpid()) == os.getpid()
    assert outside({"unified": str(tmp_path)}, 2**22 + 1) is None
    assert outside({"memory": "/nonexistent"}, 1) is None
    assert outside({}, 1) is None


def test_a_guard_that_lives_holds_its_lock_and_says_whose_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(notebook_guard.notebook_clean, "ROOT", str(tmp_path))
    assert notebook_guard.holder("nb") is None
    holds = "import fcntl,json,os,sys,time; f=open(sys.argv[1],'w'); fcntl.flock(f,2); "
    holds += "json.dump({'pid':os.getpid(),'agent':1},f); f.flush(); print(flush=True); time.sleep(600)"
    argv = [sys.executable, "-c", holds, notebook_guard.lock_of("nb")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert notebook_guard.holder("nb") == {"pid": other.pid, "agent": 1}
        assert notebook_guard.taken_by_another("nb", 0)
        notebook_guard.disarm("nb")
        assert other.wait() == -15
    assert notebook_guard.holder("nb") is None
    assert not notebook_guard.taken_by_another("nb", 0)
    assert list(tmp_path.iterdir()) == []
