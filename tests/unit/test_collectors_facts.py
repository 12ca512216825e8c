"""The facts program on this machine, and the `setup` task over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.errors import PlaybookError, TaskFailed
from labctl.node.api import Completed
from labctl.paths import builtin
from labctl.task_types import Registry

PROGRAM = builtin("collectors") / "facts.py"


def facts(*arguments: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(PROGRAM), *arguments],
        capture_output=True,
        env={**os.environ, **environment},
        check=True,
    )
    return json.loads(done.stdout)


def test_facts_are_this_machines() -> None:
    known = facts()
    uname = os.uname()
    assert (known["kernel"], known["nodename"], known["architecture"]) == (
        uname.release,
        uname.nodename,
        uname.machine,
    )
    assert known["processor_vcpus"] == os.cpu_count()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    assert known["memtotal_mb"] == pytest.approx(pages, abs=1)
    root = next(mount for mount in known["mounts"] if mount["mount"] == "/")
    size = os.statvfs("/")
    assert root["size_total"] == size.f_blocks * size.f_frsize
    assert known["user_uid"] == os.getuid()
    assert "127.0.0.1" in [entry["address"] for entry in known["lo"]["ipv4"]]
    assert "127.0.0.1" not in known["all_ipv4_addresses"]
    assert known["cgroup"]["version"] in (1, 2, "hybrid")


def test_what_is_not_there_is_null_with_a_reason() -> None:
    known = facts()
    for program in ("containerd", "runc", "criu"):
        name = f"{program}_version"
        assert (known[name] is None) == (name in known["facts_missing"])


def test_a_subset_gathers_only_its_facts() -> None:
    known = facts("--subset", "min")
    assert "kernel" in known
    assert "memtotal_mb" not in known
    assert "cgroup" not in known


def test_the_environment_shows_no_secret() -> None:
    assert "hunter2" not in json.dumps(facts(LABCTL_TEST_TOKEN="hunter2"))


def test_an_unknown_subset_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--subset", "hardwear"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no subset 'hardwear'" in done.stderr


class LocalNode:
    """Runs programs on this machine, as a node would."""

    host = "here"

    def __init__(self) -> None:
        self.started: list[list[str]] = []

    def clock_offset(self) -> float:
        return 0.5

    def start(self, program: bytes, arguments: list[str], *, line: Any, name: str) -> SimpleNamespace:
        self.started.append(list(arguments))
        argv = [sys.executable, "-c", program.decode(), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        for text in done.stdout.splitlines():
            line(text)
        ended = Completed(tuple(argv), done.returncode, b"", done.stderr.encode(), 0.0, 0.0)
        return SimpleNamespace(wait=lambda _: ended, stop=lambda timeout: ended)


@pytest.fixture
def ctx(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(host="here", node=LocalNode(), run_dir=tmp_path, shared={}, mark=None)


def setup(ctx: SimpleNamespace, **arguments: Any) -> dict[str, Any]:
    task = Registry().get("setup")
    return task.run(task.bind(arguments, lambda _: None), ctx)["ansible_facts"]


def test_setup_returns_facts_and_the_clock_offset_and_writes_them_down(ctx: SimpleNamespace) -> None:
    known = setup(ctx)
    assert known["kernel"] == os.uname().release
    assert known["clock_offset"] == 0.5
    assert json.loads((ctx.run_dir / "facts/here.json").read_text()) == known


def test_setup_asks_a_host_once_a_run(ctx: SimpleNamespace) -> None:
    setup(ctx, gather_subset=["!all"])
    setup(ctx, gather_subset=["min"])
    assert ctx.node.started == [["--subset", "min"]]
    setup(ctx)
    assert ctx.node.started[1:] == [["--subset", "hardware,network,runtime"]]
    setup(ctx, gather_subset="min", cached=False)
    assert ctx.node.started[2:] == [["--subset", "min"]]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["all"], "min,hardware,network,runtime"),
        (["!hardware"], "min,network,runtime"),
        (["!all", "network"], "min,network"),
        (["all", "!min", "!network"], "hardware,runtime"),
        (["virtual"], "min,hardware"),
    ],
)
def test_subsets_follow_ansibles_rules(ctx: SimpleNamespace, names: list[str], wanted: str) -> None:
    setup(ctx, gather_subset=names)
    assert ctx.node.started == [["--subset", wanted]]


def test_an_unknown_subset_is_refused_with_the_nearest_name(ctx: SimpleNamespace) -> None:
    with pytest.raises(PlaybookError) as caught:
        setup(ctx, gather_subset=["netwrok"])
    assert caught.value.hint == "did you mean 'network'?"


def test_filter_takes_names_with_and_without_prefix(ctx: SimpleNamespace) -> None:
    assert setup(ctx, filter=["ansible_kernel", "os_*"]).keys() == {"kernel", "os_family"}


def test_a_node_that_cannot_tell_is_an_error_with_its_words(ctx: SimpleNamespace) -> None:
    ctx.node.start = lambda *_, **__: SimpleNamespace(
        wait=lambda _: Completed((), 1, b"", b"Traceback\nMemoryError: no room", 0.0, 0.0)
    )
    with pytest.raises(TaskFailed, match="MemoryError: no room"):
        setup(ctx)
