"""A notebook on a real node: what dies under load, of what, and that nothing stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl.errors import TaskFailed
from labctl.paths import cache_dir
from labctl.pods import images
from labctl.pods.notebook import Notebook, notebook_pod
from labctl.pods.recipe import load_recipe
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
MEBIBYTE = 2**20
MEMORY, DISK = 512 * MEBIBYTE, 256 * MEBIBYTE
TRACES = (
    "ls /run/netns /run/containerd/runc/labctl; ctr -n labctl c ls -q; ctr -n labctl snapshots ls; grep labctl /proc/self/mounts;"
    " find /run/labctl /var/lib/labctl /var/log/pods /dev -name '*loop*' -o -path '*notebook*';"
    " cat /sys/block/loop*/loop/backing_file 2>/dev/null | grep notebook;"
    " find /sys/fs/cgroup -path '*labctl/*notebook*' -type d; pgrep -af 'import json[,]sys|/ap[p]/|ipy[k]ernel'"
)
CONTROLLER = """
import json, sys
from labctl.pods.notebook import Notebook, notebook_pod
from labctl.ssh import Connections, ConnectionSettings
settings = ConnectionSettings.from_variables("worker1", json.loads(sys.argv[1]))
notebook = Notebook(Connections().node(settings), notebook_pod("notebook-killed"))
print("begins", flush=True)
notebook.ready()
print("ready", flush=True)
while True:
    notebook.step("memory", 64 << 20, 0.5)
    notebook.step("disk", 64 << 20, 0.5)
"""


@pytest.fixture(scope="module")
def image(node) -> str:
    recipe = load_recipe(ROOT / "workloads/notebook/recipe.yml")
    built = images.build(recipe, cache_dir(), lambda message, _fraction: print(message, file=sys.stderr))
    worker = node("worker1")
    blobs = list(built.blobs)
    here = worker.call("images", "missing", name=built.name, digest=built.digest, blobs=blobs)
    if not here["present"]:
        archive = built.store / f"archive-test-{built.digest[7:19]}.tar"
        try:
            images.archive(built, here["missing"], archive)
            worker.put(archive, "/var/tmp/image.tar")
        finally:
            archive.unlink(missing_ok=True)
        worker.call("images", "load", path="/var/tmp/image.tar", name=built.name, digest=built.digest)
    return built.name


@pytest.fixture
def traces(node, image) -> Callable[[], set[str]]:
    """What there is on the node of notebooks and what they are made of."""
    return lambda: set(node("worker1").run(["sh", "-c", TRACES]).text().splitlines())


@pytest.fixture(scope="module")
def notebook(node, image) -> Iterator[Notebook]:
    made = Notebook(node("worker1"), notebook_pod("notebook-test", cpu="1", memory="512Mi", disk="256Mi"))
    try:
        made.ready()
        yield made
    finally:
        made.stop()


def during(notebook: Notebook, victim: str, kill: str, step: tuple, timeout: float = 30) -> dict:
    """Restart the kernel and do a step; when `victim`, a shell expression of $kernel, has a value and the load is held,
    kill it. The step's record, with `killed_at` on the node's clock."""
    kernel = notebook.restart()["pid"]
    box: list[dict] = []
    work = threading.Thread(target=lambda: box.append(notebook.step(*step, timeout=timeout)))
    work.start()
    script = f"""kernel={kernel}
    until v={victim} && [ -n "$v" ] && [ $(awk '/VmRSS/ {{print $2}}' /proc/$v/status) -gt 20000 ] \\
        && {{ [ {step[0]} = cpu ] || [ $(awk '/VmRSS/ {{print $2}}' /proc/$kernel/status) -gt 250000 ]; }}
    do sleep 0.02; [ $SECONDS -lt 30 ] || exit 1; done
    date +%s.%N; kill -{kill} $v"""
    said = notebook._node.run(["bash", "-c", script])
    work.join()
    assert said.rc == 0, said.error_text()
    return {**box[0], "killed_at": float(said.text())}


HOLD = ("memory", 200 * MEBIBYTE, 15.0)


def test_a_step_tells_what_it_used(notebook) -> None:
    idle = notebook.capacity()
    assert idle["limits"] == {"cpu": 1.0, "memory": MEMORY, "disk": DISK}
    record = notebook.step("memory", 100 * MEBIBYTE, 0.3)
    assert record["survived"]
    assert record["achieved"] == record["requested"] == 100 * MEBIBYTE
    grown = record["memory"]["anon"] - idle["memory_usage"]
    assert 70 * MEBIBYTE < grown < 130 * MEBIBYTE  # idle memory has page cache too
    assert record["memory"]["anon"] < record["usage"] < MEMORY
    assert record["responsiveness_ms"]["count"] > 0
    assert record["swap_used"] == 0
    assert record["throughput"] > 0


def test_memory_over_the_limit_is_an_oom_of_the_kernel_and_the_client_lives_on(notebook, node) -> None:
    client = notebook.capacity() and node("worker1").call("pods", "status", pod="notebook-test")
    record = notebook.step("memory", MEMORY, 0.3)
    death = record["death"]
    assert not record["survived"]
    assert (death["what"], death["cause"], death["signal"], death["exit"]) == ("kernel", "oom", 9, None)
    assert death["oom_kill"] >= 1
    assert death["detected_after_s"] < 1.0
    assert record["usage"] >= 0.98 * MEMORY
    assert record["achieved"] < MEMORY
    after = notebook.step("memory", 10 * MEBIBYTE, 0.1)
    assert after["survived"]
    assert after["restarted"] == "kernel"
    still = node("worker1").call("pods", "status", pod="notebook-test")
    assert [c["pid"] for c in still["containers"]] == [c["pid"] for c in client["containers"]]


def test_a_kernel_killed_from_outside_is_not_called_oom(notebook) -> None:
    record = during(notebook, "$kernel", "KILL", HOLD)
    death = record["death"]
    assert (death["what"], death["cause"], death["signal"], death["oom_kill"]) == ("kernel", "killed", 9, 0)
    assert 0 <= death["wall"] - record["killed_at"] < 1.0
    assert death["detected_after_s"] < 1.0


def test_a_kernel_that_exits_is_not_called_killed(notebook) -> None:
    # SIGTERM: the kernel's own handler ends it
    record = during(notebook, "$kernel", "TERM", HOLD)
    assert record["death"]["cause"] in ("exit", "killed")
    assert record["death"]["signal"] != signal.SIGKILL
    assert record["death"]["oom_kill"] == 0


def test_the_container_killed_from_outside_is_made_anew(notebook) -> None:
    manager = "$(awk '/PPid/ {print $2}' /proc/$kernel/status)"
    record = during(notebook, manager, "KILL", HOLD)
    death = record["death"]
    assert (death["what"], death["cause"], death["signal"], death["oom_kill"]) == (
        "container",
        "killed",
        9,
        0,
    )
    assert 0 <= death["wall"] - record["killed_at"] < 1.0
    after = notebook.step("disk", MEBIBYTE, 0)
    assert after["survived"]
    assert after["restarted"] == "container"


def test_a_worker_killed_from_outside_is_named_as_one(notebook) -> None:
    record = during(notebook, "$(pgrep -P $kernel | head -1)", "KILL", ("cpu", 2, 15.0))
    death = record["death"]
    assert (death["what"], death["cause"], death["signal"], death["oom_kill"]) == ("worker", "killed", 9, 0)
    assert 0 <= death["wall"] - record["killed_at"] < 1.0
    assert notebook.step("cpu", 1, 0.2)["restarted"] is None


def test_a_kernel_that_hangs_is_a_timeout_and_replaced(notebook) -> None:
    record = during(notebook, "$kernel", "STOP", HOLD, timeout=6)
    assert (record["death"]["what"], record["death"]["cause"]) == ("kernel", "timeout")
    assert record["responsiveness_ms"]["timeouts"] > 0
    assert notebook.step("cpu", 1, 0.2)["restarted"] == "kernel"


def test_a_full_disk_is_enospc_and_nobody_dies(notebook, node) -> None:
    fits = notebook.step("disk", 250 * MEBIBYTE, 0)
    assert fits["survived"]
    assert fits["error"] is None
    assert fits["achieved"] == 250 * MEBIBYTE
    assert fits["usage"] == pytest.approx(250 * MEBIBYTE, rel=0.01)
    full = notebook.step("disk", 260 * MEBIBYTE, 0)
    assert full["error"]["errno"] == "ENOSPC"
    assert full["death"] is None
    assert full["achieved"] == pytest.approx(DISK, rel=0.02)
    assert full["usage"] == pytest.approx(DISK, rel=0.02)
    left = node("worker1").run(["ls", "-A", "/run/labctl/notebook/notebook-test/disk"]).text().split()
    assert set(left) <= {"lost+found", ".taken"}


def test_more_processes_than_the_quota_are_throttled(notebook, node) -> None:
    paths = node("worker1").call("pods", "status", pod="notebook-test")["containers"][0]["cgroups"]
    whole = ("unified", "cpu.max", "{} 100000") if "unified" in paths else ("cpu", "cpu.cfs_quota_us", "{}")
    file, text = f"{paths[whole[0]]}/{whole[1]}", whole[2]
    set_quota = ["sh", "-c", 'echo "$1" > "$2"', "sh"]
    assert node("worker1").run([*set_quota, text.format(20000), file]).rc == 0
    try:
        record = notebook.step("cpu", 2, 3.0)
    finally:
        node("worker1").run([*set_quota, text.format(100000), file])
    assert record["limit"] == pytest.approx(0.2)
    assert record["usage"] <= 0.23
    assert record["throttled_pct"] > 0
    assert 0 < record["nr_throttled"] <= record["nr_periods"]
    assert len(record["per_worker_s"]) == len(record["per_worker_work"]) == 2


def test_the_kernel_of_a_jupyter_server_dies_and_starts_again_the_same(node, image) -> None:
    served = Notebook(node("worker1"), notebook_pod("notebook-served", disk="16Mi", server=True))
    try:
        served.ready()
        asked = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8888/api').read().decode())"
        enter = ["ip", "netns", "exec", "labctl-notebook-served", "python3", "-c", asked]
        assert "version" in json.loads(node("worker1").run(enter).text())
        assert served.step("memory", 50 * MEBIBYTE, 0.1)["survived"]
        death = served.step("memory", MEMORY, 0.1)["death"]
        assert (death["what"], death["cause"], death["signal"]) == ("kernel", "oom", 9)
        assert death["detected_after_s"] < 1.0
        killed = during(served, "$kernel", "KILL", HOLD)
        assert (killed["death"]["cause"], killed["death"]["oom_kill"]) == ("killed", 0)
        assert served.step("cpu", 1, 0.2)["restarted"] == "kernel"
    finally:
        served.stop()


def test_stop_leaves_nothing_and_may_be_repeated(traces, node) -> None:
    before = traces()
    made = Notebook(node("worker1"), notebook_pod("notebook-once", disk="16Mi"))
    made.ready()
    assert len(traces() - before) > 10
    assert made.stop() == {"existed": True}
    assert traces() == before
    assert made.stop() == {"existed": False}
    with pytest.raises(TaskFailed, match="it is not there"):
        made.step("cpu", 1, 0.1)


def test_what_cannot_be_had_is_said_and_leaves_nothing(traces, node) -> None:
    before = traces()
    with pytest.raises(TaskFailed, match="no room for a disk"):
        Notebook(node("worker1"), notebook_pod("notebook-huge", disk="900Ti")).ready()
    absent = {"spec": {"containers": [{"name": "notebook", "image": "labctl/none:1"}]}}
    with pytest.raises(TaskFailed, match="labctl/none:1"):
        Notebook(node("worker1"), notebook_pod("notebook-none", disk="16Mi", patch=absent)).ready()
    assert traces() == before


@pytest.mark.parametrize(
    ("word", "after"), [("begins", 0.3), ("begins", 1.2), ("ready", 0.1), ("ready", 1.7)]
)
def test_a_killed_controller_leaves_nothing(lab, traces, word: str, after: float) -> None:
    before = traces()
    argv = [sys.executable, "-c", CONTROLLER, json.dumps(lab.connection("worker1"))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as controller:
        assert controller.stdout is not None
        while (line := controller.stdout.readline().strip()) != word:
            assert line, "the controller ended early"
        time.sleep(after)  # a moment to be killed at, not something that is waited for
        controller.send_signal(signal.SIGKILL)
    eventually(lambda: not traces() - before, 30, lambda: traces() - before)


def test_a_notebook_of_another_run_is_not_taken_away(lab, node, image) -> None:
    argv = [sys.executable, "-c", CONTROLLER, json.dumps(lab.connection("worker1"))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as controller:
        assert controller.stdout is not None
        while controller.stdout.readline().strip() != "ready":
            assert controller.poll() is None
        mine = Notebook(node("worker1"), notebook_pod("notebook-killed"))
        with pytest.raises(TaskFailed, match="another run"):
            mine.ready()
        assert mine.stop() == {"existed": False}
        assert node("worker1").call("pods", "status", pod="notebook-killed") is not None
        controller.kill()
    assert mine.ready()["limits"]["memory"] == MEMORY  # waits for the other's guard
    mine.stop()
