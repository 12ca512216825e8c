"""The stress code that runs in a notebook's kernel, run here."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "workloads" / "notebook" / "notebook_stress.py"
MEBIBYTE = 2**20


@pytest.fixture
def stress(monkeypatch, tmp_path: Path) -> ModuleType:
    pytest.importorskip("numpy")
    monkeypatch.chdir(tmp_path)  # where files go
    spec = importlib.util.spec_from_file_location("notebook_stress", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def words() -> list[dict]:
    return []


@pytest.fixture
def tell(words: list[dict]) -> Callable[..., None]:
    return lambda **values: words.append(values)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_touched_held_and_given_back(stress, words) -> None:
    before = resident()
    seen = []

    def tell(**values) -> None:
        words.append(values)
        seen.append(resident() - before)

    size = 40 * MEBIBYTE + 5000  # no multiple of a block or a page
    done = stress.memory_step(size, 0.05, tell)
    assert done["achieved"] == size
    assert done["throughput"] > 0
    assert words[-1] == {"achieved": size, "held": True}
    assert [word["achieved"] for word in words[:-1]] == [*(n * stress.BLOCK for n in range(1, 6)), size]
    assert size - MEBIBYTE < seen[-1] < size + 8 * MEBIBYTE
    assert resident() - before < 8 * MEBIBYTE


def test_memory_that_may_not_be_had_is_an_errno_and_what_was_filled(stress, words, tell) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + 30 * MEBIBYTE, before[1]))
    try:
        with pytest.raises(stress.Stopped) as caught:
            stress.memory_step(400 * MEBIBYTE, 0, tell)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert caught.value.errno == "ENOMEM"
    assert caught.value.values["achieved"] == words[-1]["achieved"] < 400 * MEBIBYTE


@pytest.mark.parametrize("size", [1, 70_000, 9 * MEBIBYTE + 1])
def test_a_file_is_written_read_back_and_removed(stress, tell, words, tmp_path: Path, size: int) -> None:
    done = stress.disk_step(size, 0, tell)
    assert done["achieved"] == size
    assert done["throughput"] > 0
    assert done["read_throughput"] > 0
    assert words == [{"achieved": size, "held": True}]
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_cannot_be_compressed(stress, tmp_path: Path) -> None:
    import zlib

    written = []
    stress.disk_step(3 * MEBIBYTE, 0, lambda **_: written.append((tmp_path / stress.FILE).read_bytes()))
    assert len(written[0]) == 3 * MEBIBYTE
    assert len(zlib.compress(written[0])) > 3 * MEBIBYTE


def test_other_bytes_than_were_written_are_an_error(stress) -> None:
    def spoil(**_) -> None:
        with open(stress.FILE, "r+b") as stream:
            stream.seek(100_000)
            stream.write(b"\0" * 64)

    with pytest.raises(stress.Stopped) as caught:
        stress.disk_step(2 * MEBIBYTE, 0, spoil)
    assert caught.value.errno == "EIO"


def test_a_file_that_may_not_grow_is_an_errno_and_what_was_written(stress, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MEBIBYTE // 2, before[1]))
    try:
        with pytest.raises(stress.Stopped) as caught:
            stress.disk_step(4 * MEBIBYTE, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == "EFBIG"
    assert caught.value.values["achieved"] == 5 * MEBIBYTE // 2
    assert list(tmp_path.iterdir()) == []


def test_workers_work_at_the_same_time_and_end(stress, words, tell) -> None:
    done = stress.cpu_step(3, 0.2, tell)
    assert words == [{"achieved": 3}]
    assert done["achieved"] == len(done["per_worker_s"]) == len(done["per_worker_work"]) == 3
    assert all(seconds >= 0.2 for seconds in done["per_worker_s"])
    assert all(work > 0 for work in done["per_worker_work"])
    assert done["throughput"] == pytest.approx(sum(done["per_worker_work"]) / done["work_s"])
    assert done["worker"] is None


def test_a_worker_that_dies_ends_the_others_and_is_named(stress) -> None:
    def children() -> list[str]:
        return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()

    def kill_one(**_) -> None:
        os.kill(int(children()[-1]), signal.SIGKILL)

    before = children()
    done = stress.cpu_step(2, 60, kill_one)
    assert done["worker"] == {"signal": 9, "exit": None}
    assert children() == before


def test_a_step_is_told_from_outside(stress, tmp_path: Path) -> None:
    def told(*step) -> list[dict]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            stress.begin(*step, str(tmp_path / "s"))
            with listener.accept()[0] as peer, peer.makefile() as lines:
                found = [json.loads(line) for line in lines]
        (tmp_path / "s").unlink()
        return found

    *progress, end = told("memory", MEBIBYTE, 0)
    assert progress[-1] == {"event": "progress", "achieved": MEBIBYTE, "held": True}
    assert end["event"] == "end"
    assert end["achieved"] == MEBIBYTE
    (tmp_path / stress.FILE).mkdir()
    (end,) = told("disk", MEBIBYTE, 0)
    assert end["errno"] == "EISDIR"


def test_series_of_the_source(stress, capsys) -> None:
    stress.cpu_stress_test(max_processes=2, step_duration=0.05)
    stress.memory_stress_test(start_size_mb=2, step_size_mb=1, max_steps=3, duration=0)
    stress.disk_stress_test(start_size_mb=1, step_size_mb=1, max_steps=2, duration=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "2", "3", "4", "1", "2"]
