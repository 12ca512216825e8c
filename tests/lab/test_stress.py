"""Load on real nodes: within a container's limits, and gone with whatever it belongs to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from labctl.measure.load import cpu_within, read_load
from labctl.measure.recording import read_recording
from labctl.measure.series import Window, cpu_seconds, increases
from labctl.pods.containerd import Containerd
from labctl.pods.manifest import parse_pod
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
POD = "stress-test"
LIMIT = 64 << 20
FULL = "/run/stress-full"  # a file system of 8 MiB
SLEEP = ["python3", "-c", "import time; time.sleep(600)"]


def manifest() -> dict[str, Any]:
    one = {
        "image": "labctl/training-pod:1",
        "command": SLEEP,
        "volumeMounts": [{"name": "full", "mountPath": "/full"}],
    }
    small = {**one, "name": "small", "resources": {"limits": {"cpu": "200m", "memory": "64Mi"}}}
    beside = {**one, "name": "beside", "resources": {"limits": {"memory": "64Mi"}}}
    volumes = [{"name": "full", "hostPath": {"path": FULL}}]
    spec = {"restartPolicy": "Never", "containers": [small, beside], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec}


@pytest.fixture
def worker(node):
    return node("worker1")


@pytest.fixture
def pod(node, worker, training_image):
    """A pod with a small container and another beside it; its status when asked."""
    worker.mkdir(FULL)
    assert worker.run(["mount", "-t", "tmpfs", "-o", "size=8m", "stress-test", FULL]).rc == 0
    runtime = Containerd(node, ["worker1"], lambda _host: "/srv/shared")
    made = parse_pod(manifest())
    try:
        runtime.apply(made, "worker1")
        yield lambda: {one["name"]: one for one in worker.call("pods", "status", pod=POD)["containers"]}
    finally:
        runtime.delete(made, "worker1", grace_seconds=0)
        worker.run(["umount", "-l", FULL])
        worker.remove(FULL)


@pytest.fixture
def play(labctl, inventory_file, tmp_path):
    """Run tasks on worker1: the values each task registered under `as`, and the finished command."""

    def call(*tasks: str, expect: int = 0) -> tuple[dict[str, Any], Any]:
        text = "".join(f"    - {task}\n" for task in tasks)
        (tmp_path / "site.yml").write_text(f"- hosts: worker1\n  gather_facts: false\n  tasks:\n{text}")
        done = labctl("run", "site.yml", "-i", inventory_file, cwd=tmp_path)
        assert done.returncode == expect, done.stdout + done.stderr
        run = (tmp_path / "runs/latest").resolve()
        results = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        values = {
            e["task"]: e["data"]["result"]
            for e in results
            if e["event"] == "result" and e["host"] == "worker1"
        }
        return values, done

    return call


def loads(worker) -> list[str]:
    """Processes of stressors on the node."""
    return worker.run(["pgrep", "-f", "--", "--plan"]).text().split()


def procs(worker, paths: dict[str, str]) -> set[str]:
    """Processes in the cgroups of a container, in any hierarchy."""
    return {pid for path in paths.values() for pid in worker.read(f"{path}/cgroup.procs").decode().split()}


def test_memory_ends_at_the_containers_limit_and_the_container_lives(play, pod, worker) -> None:
    values, done = play(
        f"{{name: fill, stress: {{pod: {POD}, container: small, memory: {{size: 100Mi, step: 1Mi}}, duration: 20}}}}",
        expect=2,
    )
    told = values["fill"]
    assert "memory worker 0 was killed for lack of memory in its container" in told["msg"], done.stdout
    assert told["oom_kills"] >= 1
    assert told["deaths"][0]["signal"] == 9
    assert 0.9 * LIMIT < told["stressors"]["memory"]["held"] <= LIMIT
    assert {name: one["state"] for name, one in pod().items()} == {"small": "running", "beside": "running"}
    header = json.loads(Path(told["path"]).read_text().splitlines()[0])
    assert header["container"]["limits"]["memory"] == LIMIT
    assert not loads(worker)


def test_cpu_is_held_to_the_quota_and_measured_by_a_collector_beside_it(play, pod, worker) -> None:
    values, _ = play(
        f"collect: {{collector: cgroup, args: {{pod: {POD}, interval: 0.1}}, dest: cgroup.jsonl}}",
        f"{{name: load, stress: {{pod: {POD}, container: small, cpu: {{workers: 2}}, duration: 6}}, async: 60, poll: 0, register: job}}",
        "{async_status: {jid: '{{ job.ansible_job_id }}'}, register: told, until: told.finished, retries: 100, delay: 0.2}",
        "{name: measured, collect: {collector: cgroup, state: stopped}}",
        "{name: told, debug: {var: told}}",
    )
    told = values["told"]["told"]
    recording = read_recording(Path(values["measured"]["path"]).read_text().splitlines())
    load = read_load(Path(told["path"]).read_text().splitlines())
    name = f"{POD}/small"
    window = Window(load.t[1], load.t[-2])
    counted, own = cpu_seconds([recording], [name], window).value, cpu_within(load, window).value
    assert counted is not None
    assert own == pytest.approx(counted, rel=0.05)  # two counters of the kernel's, read by two programs
    assert counted / window.seconds < 0.22
    assert increases([recording], [name], "throttled", window) > 0
    assert told["stressors"]["cpu"]["work"] > 0
    assert increases([recording], [f"{POD}/beside"], "throttled", window) in (0, None)


def test_a_full_disk_is_an_error_with_its_errno(play, pod, worker) -> None:
    disk = "{path: /full, size: 20Mi}"
    values, _ = play(
        f"{{name: full, stress: {{pod: {POD}, container: small, disk: {disk}, reserve: 0, duration: 20}}}}",
        expect=2,
    )
    assert "(ENOSPC)" in values["full"]["msg"]
    assert values["full"]["stressors"]["disk"]["held"] == pytest.approx(8 << 20, rel=0.02)
    assert worker.list(FULL) == []
    assert worker.run(["df", "--output=used", FULL]).text().split()[-1] == "0"
    values, _ = play(
        f"{{name: refused, stress: {{pod: {POD}, container: small, disk: {disk}, duration: 20}}}}", expect=2
    )
    assert "disk: 20 MiB is more than /full can give" in values["refused"]["msg"]


def test_processes_end_where_the_container_may_have_no_more(play, pod, worker) -> None:
    paths = pod()["small"]["cgroups"]
    most = f"{paths.get('pids') or paths['unified']}/pids.max"
    assert worker.run(["sh", "-c", f"echo 30 > {most}"]).rc == 0
    values, _ = play(f"{{name: fork, stress: {{pod: {POD}, container: small, pids: max, duration: 2}}}}")
    told = values["fork"]
    assert [error["errno"] for error in told["errors"]] == ["EAGAIN"]
    assert told["stressors"]["pids"]["held"] == 30 - 2  # its main process, and the worker
    assert len(procs(worker, paths)) == 1


def test_a_load_ends_with_its_container_which_goes_as_ever(play, pod, worker) -> None:
    (worker_pid,) = procs(worker, pod()["small"]["cgroups"])
    load = f"pod: {POD}, container: small, cpu: 50%, memory: 8Mi, background: true"
    values, done = play(
        f"stress: {{{load}}}",
        f"command: kill -9 {worker_pid}",
        "shell: while pgrep -f -- '[-]-plan'; do sleep 0.05; done",
        "{name: ended, stress: {state: stopped}, ignore_errors: true}",
    )
    assert "the load on worker1 was not what was asked for: the container ended" in values["ended"]["msg"], (
        done.stdout
    )
    assert values["ended"]["ended"] == "container ended"
    assert pod()["small"]["state"] == "terminated"
    assert procs(worker, pod()["small"]["cgroups"]) == set()


def test_a_load_in_the_background_ends_with_the_run(play, pod, worker) -> None:
    values, done = play(
        f"stress: {{pod: {POD}, container: beside, cpu: 20%, background: true, name: inside}}",
        "stress: {cpu: 20%, disk: {rate: 1M}, network: {to: worker2, rate: 1M}, background: true}",
        "{name: there, shell: 'pgrep -f -- --plan | wc -l'}",
    )
    assert int(values["there"]["stdout"]) > 5
    assert "stopped load inside on worker1" in done.stdout + done.stderr
    assert not loads(worker)
    assert len(procs(worker, pod()["beside"]["cgroups"])) == 1


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2, 1.0])
def test_a_killed_labctl_leaves_no_load_behind(node, inventory_file, pod, worker, tmp_path, after) -> None:
    """SIGKILL at several moments after the first process of the load is there."""
    load = f"pod: {POD}, container: small, cpu: 50%, memory: 16Mi, pids: 5"
    (tmp_path / "site.yml").write_text(
        "- hosts: worker1\n  gather_facts: false\n  tasks:\n"
        "    - stress: {disk: {size: 4Mi, path: /var/tmp}, network: worker2, background: true}\n"
        f"    - stress: {{{load}, duration: 600}}\n"
    )
    before = worker.run(["ls", "-A", "/var/tmp"]).text()
    started = subprocess.Popen(
        [sys.executable, "-m", "labctl", "run", "site.yml", "-i", str(inventory_file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: loads(worker), 60, "there never was a load")
        time.sleep(after)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    eventually(lambda: not loads(worker), 20, "a load outlived its controller")
    eventually(lambda: not loads(node("worker2")), 20, "a sink outlived its controller")
    assert worker.run(["ls", "-A", "/var/tmp"]).text() == before
    assert len(procs(worker, pod()["small"]["cgroups"])) == 1


def test_one_load_on_two_nodes_shares_what_they_share(labctl, inventory_file, tmp_path, node) -> None:
    (tmp_path / "site.yml").write_text(
        "- hosts: workers\n  gather_facts: false\n  tasks:\n"
        "    - stress: {load: 'cpu:20%,memory:16M,network:1M/s', among: '{{ groups.workers }}', background: true}\n"
        "    - wait_for: {timeout: 2}\n"
        "    - stress: {state: stopped}\n"
    )
    done = labctl("run", "site.yml", "-i", inventory_file, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = (tmp_path / "runs/latest").resolve()
    found = [
        read_load((run / f"stress-{host}.jsonl").read_text().splitlines()) for host in ("worker1", "worker2")
    ]
    asked = [load.stressor("cpu").options for load in found]
    assert sum(one["workers"] * one["load"] for one in asked) == pytest.approx(found[0].cpus * 0.2)
    for load, other in zip(found, ("worker2", "worker1"), strict=True):
        sink = read_load((run / f"stress-{load.host}-sink-{other}.jsonl").read_text().splitlines())
        assert 0 < sink.stressor("sink").workers[0].checked <= load.stressor("network").work
        assert load.stressor("memory").held == 16_000_000


def test_a_missing_container_is_said(play, pod) -> None:
    values, _ = play(
        f"{{name: none, stress: {{pod: {POD}, container: smal, cpu: 50%, duration: 1}}}}", expect=2
    )
    assert values["none"]["msg"].startswith(f"pod {POD} has no container 'smal'")
    values, _ = play("{name: none, stress: {pod: no-such-pod, cpu: 50%, duration: 1}}", expect=2)
    assert values["none"]["msg"] == "pod no-such-pod is not on worker1"
