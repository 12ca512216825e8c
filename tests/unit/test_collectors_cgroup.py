"""The cgroup collector as a process, over a cgroup v2 tree in the kernel's format and over v1 files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.measure.recording import read_recording
from labctl.node.bundle import with_siblings
from labctl.paths import builtin

COLLECTORS = builtin("collectors")
SOURCE = with_siblings(COLLECTORS / "cgroup.py", "parts", COLLECTORS / "parts").decode()  # as it travels
DATA = Path(__file__).parent / "data" / "cgroup-v2"


def collector(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SOURCE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def collect(tree: Path, *arguments: object) -> list[dict[str, Any]]:
    with collector("--sysfs", tree / "sys", "--proc", tree / "proc", *arguments) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(DATA, tmp_path / "tree")
    return tmp_path / "tree"


class Live:
    """A running collector whose tree is changed while it is stopped, asleep between two snapshots."""

    def __init__(self, tree: Path) -> None:
        self.process = collector(
            "--sysfs", tree / "sys", "--proc", tree / "proc", "--pod", "shop", "--interval", 0.4
        )

    def line(self, kind: str) -> dict[str, Any]:
        assert self.process.stdout
        for text in self.process.stdout:
            entry: dict[str, Any] = json.loads(text)
            if entry["type"] == kind:
                return entry
        raise AssertionError(f"no {kind} line before the end")

    def __enter__(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def __exit__(self, *_: object) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


@pytest.fixture
def live(tree: Path) -> Iterator[Live]:
    running = Live(tree)
    yield running
    running.process.kill()
    running.process.wait()


def test_v2_values_are_those_of_the_files(tree: Path) -> None:
    header, first, second, end = collect(
        tree, "--pod", "shop", "--samples", 2, "--interval", 0.01, "--host", "n1"
    )
    assert header["version"] == 2
    assert header["host"] == "n1"
    assert header["boot_id"] == "11111111-2222-3333-4444-555555555555"
    assert first["containers"] == {
        "shop/web": {
            "cpu_usec": 2500123, "user_usec": 2000100, "system_usec": 500023,
            "periods": 120, "throttled": 45, "throttled_usec": 987654,
            "memory": 157286400, "peak": 209715200, "anon": 104857600, "file": 41943040,
            "inactive_file": 31457280, "shmem": 4096, "kernel": 5242880, "oom_kills": 1, "pids": 7,
            "psi": {"cpu_some": 777001, "memory_some": 5005, "memory_full": 4004, "io_some": 303},
        }
    }  # fmt: skip
    assert first["node"] == {
        "cpu": [100, 1, 50, 1000, 20, 2, 3, 40],
        "own_usec": 5000000,
        "mem_available": 12288000000,
        "pswpin": 11,
        "pswpout": 22,
    }
    assert second["mono"] > first["mono"]
    assert end["samples"] == 2
    assert end["cpu_seconds"] > 0


def test_files_this_kernel_lacks_are_null(tree: Path) -> None:
    web = tree / "sys/labctl/shop.web"
    for name in ("memory.peak", "cpu.pressure", "memory.pressure", "io.pressure", "pids.current"):
        (web / name).unlink()
    (web / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\nsystem_usec 2\n")
    web = collect(tree, "--samples", 1)[1]["containers"]["shop/web"]
    assert (web["cpu_usec"], web["periods"], web["throttled_usec"]) == (5, None, None)
    assert (web["peak"], web["pids"], web["psi"]) == (None, None, None)
    assert web["memory"] == 157286400


def test_v1_is_read_below_each_controller(tree: Path) -> None:
    sys_ = tree / "v1" / "sys"
    files = {
        "cpu,cpuacct/labctl/shop.web/cpuacct.usage": "2500123999\n",
        "cpu,cpuacct/labctl/shop.web/cpuacct.stat": "user 200\nsystem 50\n",
        "cpu,cpuacct/labctl/shop.web/cpu.stat": "nr_periods 9\nnr_throttled 8\nthrottled_time 7000999\n",
        "memory/labctl/shop.web/memory.usage_in_bytes": "1000\n",
        "memory/labctl/shop.web/memory.max_usage_in_bytes": "2000\n",
        "memory/labctl/shop.web/memory.stat": "cache 1\nrss 2\ninactive_file 3\ntotal_cache 10\ntotal_rss 20\n"
        "total_shmem 30\ntotal_inactive_file 40\n",
        "memory/labctl/shop.web/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        "memory/labctl/shop.web/memory.kmem.usage_in_bytes": "50\n",
        "pids/labctl/shop.web/pids.current": "4\n",
    }
    for name, text in files.items():
        (sys_ / name).parent.mkdir(parents=True, exist_ok=True)
        (sys_ / name).write_text(text)
    shutil.copytree(tree / "proc", tree / "v1" / "proc")
    header, sample, _ = collect(tree / "v1", "--pod", "shop", "--samples", 1)
    web = sample["containers"]["shop/web"]
    assert header["version"] == 1
    assert (web["cpu_usec"], web["periods"], web["throttled"], web["throttled_usec"]) == (2500123, 9, 8, 7000)
    tick = 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert (web["user_usec"], web["system_usec"]) == (200 * tick, 50 * tick)
    assert (web["memory"], web["peak"], web["kernel"]) == (1000, 2000, 50)
    assert (web["anon"], web["file"], web["inactive_file"], web["shmem"]) == (20, 10, 40, 30)
    assert (web["oom_kills"], web["pids"], web["psi"]) == (3, 4, None)


def test_only_the_pods_asked_for_are_sampled(tree: Path) -> None:
    shutil.copytree(tree / "sys/labctl/shop.web", tree / "sys/labctl/other.db")
    assert set(collect(tree, "--pod", "shop", "--samples", 1)[1]["containers"]) == {"shop/web"}
    assert set(collect(tree, "--samples", 1)[1]["containers"]) == {"shop/web", "other/db"}


def test_an_exact_path_can_be_named(tree: Path) -> None:
    sample = collect(tree, "--map", "shop/front=labctl/shop.web", "--samples", 1)[1]
    assert list(sample["containers"]) == ["shop/front"]


def test_a_container_that_appears_is_sampled(tree: Path, live: Live) -> None:
    live.line("sample")
    with live:
        shutil.copytree(tree / "sys/labctl/shop.web", tree / "sys/labctl/shop.db")
    while "shop/db" not in live.line("sample")["containers"]:
        pass


def test_the_parents_counter_tells_what_a_vanished_container_used_last(tree: Path, live: Live) -> None:
    live.line("sample")
    with live:
        parent = tree / "sys/labctl/cpu.stat"
        parent.write_text(parent.read_text().replace("9000000", "9300000"))
        shutil.rmtree(tree / "sys/labctl/shop.web")
    gone = live.line("gone")
    assert gone["container"] == "shop/web"
    assert gone["last"]["cpu_usec"] == 2500123
    assert (gone["missed_usec"], gone["missed_of"]) == (300000, ["shop/web"])


@pytest.fixture
def neighbour(tree: Path) -> None:
    shutil.copytree(tree / "sys/labctl/shop.web", tree / "sys/labctl/other.db")


def test_what_it_cannot_know_of_a_vanished_container_is_null_with_a_reason(
    neighbour: None, tree: Path, live: Live
) -> None:
    live.line("sample")
    with live:
        shutil.rmtree(tree / "sys/labctl/shop.web")
    gone = live.line("gone")
    assert gone["missed_usec"] is None
    assert gone["missed_reason"] == "other containers below the parent cgroup are not sampled"


def test_sigterm_ends_it_with_an_end_line(live: Live) -> None:
    live.line("sample")
    live.process.send_signal(signal.SIGTERM)
    end = live.line("end")
    assert live.process.wait(timeout=30) == 0
    assert end["samples"] >= 2
    assert {"late", "missed", "cpu_seconds", "wall_seconds"} <= end.keys()


def test_what_it_writes_is_a_recording(tree: Path) -> None:
    with collector(
        "--sysfs", tree / "sys", "--proc", tree / "proc", "--samples", 3, "--interval", 0.01
    ) as process:
        recording = read_recording(process.communicate(timeout=60)[0].splitlines())
    assert recording.containers() == ["shop/web"]
    assert len(recording.samples) == 3
    assert recording.samples[0].containers["shop/web"].working_set == 157286400 - 31457280


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--interval", "0"], "--interval"),
        (["--map", "nonsense"], "NAME=PATH"),
        (["--sysfs", "/nowhere"], "no cgroup file system"),
    ],
)
def test_nonsense_is_refused(arguments: list[str], says: str) -> None:
    with collector(*arguments) as process:
        err = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert says in err
    assert "Traceback" not in err


def test_a_real_v2_host(v2_host: Path) -> None:
    found = {}
    for state in ("idle", "throttled", "oom", "pids"):
        header, sample, _ = collect(v2_host / state, "--pod", "shop", "--samples", 1)
        assert header["version"] == 2
        (name, web), folder = *sample["containers"].items(), v2_host / state / "sys/labctl/shop.web"
        found[state] = web
        cpu, memory = (
            {key: int(value) for key, value in map(str.split, (folder / file).read_text().splitlines())}
            for file in ("cpu.stat", "memory.stat")
        )
        assert name == "shop/web"
        assert web["cpu_usec"] == cpu["usage_usec"] > 0
        assert (web["periods"], web["throttled"]) == (cpu["nr_periods"], cpu["nr_throttled"])
        assert web["memory"] == int((folder / "memory.current").read_text()) > web["anon"] > 0
        assert (web["anon"], web["kernel"]) == (memory["anon"], memory["kernel"])
        assert None not in web.values()
        assert None not in web["psi"].values()
    assert found["idle"]["throttled"] <= 1 < found["throttled"]["throttled"]
    assert [found[state]["oom_kills"] for state in found] == [0, 0, 1, 1]
    assert 0.97 * (64 << 20) < found["oom"]["peak"] <= 64 << 20
