"""Real migrations of the three-container pod between two nodes, and those that fail half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from labctl.migration.recorder import Recorder
from labctl.migration.strategies import Job, Moved, migrate
from labctl.migration.trial import log_events, proof
from labctl.pods.containerd import Containerd
from labctl.pods.errors import CheckpointRefused, PodError
from labctl.pods.manifest import load_pod
from labctl.pods.runtime import Progress

ROOT = Path(__file__).resolve().parents[2]
SHARED = "/srv/shared"
TRAINER, PROCESSOR, MONITOR = "tensorflow-trainer", "data-processor", "model-monitor"
ENV = {"PROCESS_SECONDS": "0.5", "TRAINER_BATCH": "256", "SAVE_EVERY": "20"}


@pytest.fixture
def address(lab) -> str:
    return lab.connection("worker1")["ansible_host"].rsplit(".", 1)[0] + ".201"


@pytest.fixture
def start(node, training_image, address):
    """Deploy the training pod on worker1 and wait until it has something to lose; the job to worker2."""
    jobs: list[Job] = []

    def call(
        volume: str = SHARED,
        patch: dict | None = None,
        steps: int = 30,
        env: dict[str, str] | None = None,
        **more,
    ) -> Job:
        annotations = {"metadata": {"annotations": {"labctl/stateful": TRAINER}}}
        pod = load_pod(
            ROOT / "workloads/training-pod/pod.yml", patch={**annotations, **(patch or {})}, address=address
        ).with_env({**ENV, **(env or {})})
        runtime = Containerd(node, ["worker1", "worker2"], lambda _host: volume, **more)
        job = Job(pod, "worker1", "worker2", runtime, timeout=20, save_timeout=10, url=pod.url("/progress"))
        jobs.append(job)
        node("worker1").remove(f"{volume}/{pod.claim}")
        runtime.apply(pod, "worker1")
        runtime.wait(pod, "worker1", 60, Progress(job.url, steps, (PROCESSOR,)))
        return job

    yield call
    for job in jobs:
        for worker in ("worker1", "worker2"):
            job.runtime.delete(job.pod, worker, grace_seconds=0)


def told(job: Job, where: str, step: int | None = None) -> dict:
    return dict(job.runtime.wait(job.pod, where, 60, Progress(job.url, step)).told)


def evidence(job: Job):
    told(job, "worker2", 1)
    events = [
        log_events(job.runtime.all_logs(job.pod, host)[TRAINER], host) for host in (job.source, job.target)
    ]
    return proof(*events)


def migrated(job: Job, strategy: str) -> Moved:
    recorder = Recorder()
    moved = migrate(strategy, job, recorder)
    phases = recorder.phases
    assert all(one.end <= following.start for one, following in pairwise(phases))
    assert not recorder.pending
    assert job.runtime.status(job.pod, job.source) is None
    print(strategy, {p.name: round(p.seconds, 3) for p in phases}, moved.moved, moved.frozen_seconds)
    return moved


def still_works(job: Job, before: dict) -> dict:
    """The pod is on the source alone, and trains on; what the service tells."""
    assert job.runtime.find(job.pod.name).node == "worker1"
    assert job.runtime.status(job.pod, "worker2") is None
    now = told(job, "worker1")
    later = told(job, "worker1", now["step"] + 5)
    assert not later["held"]
    return later


def test_native_begins_again(start) -> None:
    job = start()
    moved = migrated(job, "native")
    shown = evidence(job)
    assert shown.after.step == 0
    assert shown.steps_redone == shown.before.step >= 30
    assert shown.continued is False
    assert moved.restarted == [TRAINER, PROCESSOR, MONITOR]
    assert set(job.runtime.status(job.pod, "worker2").containers) == {TRAINER, PROCESSOR, MONITOR}


def test_native_resume_continues_from_the_last_save(start) -> None:
    job = start()
    migrated(job, "native-resume")
    shown = evidence(job)
    assert shown.after.step > 0
    assert shown.after.step % 20 == 0
    assert 0 <= shown.steps_redone < 20


def test_optimized_continues_and_leaves_out_what_completed(start) -> None:
    job = start()
    moved = migrated(job, "optimized")
    shown = evidence(job)
    assert shown.continued is True
    assert shown.steps_redone == 0
    assert moved.not_restarted == [PROCESSOR]
    assert set(job.runtime.status(job.pod, "worker2").containers) == {TRAINER, MONITOR}
    assert sum(size for _, size in moved.moved) > 1000
    after = told(job, "worker2", shown.before.step + 5)
    assert after["completed"] == [PROCESSOR]


def test_live_goes_on_in_the_same_processes(start, node) -> None:
    job = start()
    if reason := job.runtime.checkpoint_refusal("worker1"):
        pytest.skip(reason)
    boot = told(job, "worker1")["boot"]
    moved = migrated(job, "live")
    shown = evidence(job)
    assert shown.continued is True
    assert shown.steps_redone == 0
    after = told(job, "worker2", shown.before.step + 5)
    assert after["boot"] == boot, "the monitor is the process it was"
    assert after["completed"] == [PROCESSOR]
    assert moved.restarted == []
    assert all(seconds and 0 < seconds < 10 for seconds in moved.frozen_seconds.values())


# ------------------------------------------------------------ half-way failures


@contextmanager
def refused(job: Job, strategy: str, match: str, kind: type[PodError] = PodError, **recorder):
    before = told(job, "worker1")
    with pytest.raises(kind, match=match) as caught:
        migrate(strategy, job, Recorder(**recorder))
    yield caught.value
    still_works(job, before)


@pytest.mark.parametrize("strategy", ["native", "optimized"])
def test_image_missing_on_the_target(start, node, strategy) -> None:
    node("worker1").run(
        ["ctr", "-n", "labctl", "images", "tag", "--force", "labctl/training-pod:1", "labctl/here:1"]
    )
    patch = {"spec": {"containers": [{"name": MONITOR, "image": "labctl/here:1"}]}}
    job = start(patch=patch)
    with refused(job, strategy, "labctl/here:1 is not on this node") as error:
        assert "was not touched" in error.message


@pytest.mark.parametrize("strategy", ["native", "optimized", "live"])
def test_target_hung_from_the_start(start, lab, strategy) -> None:
    job = start(patience=3.0)
    told(job, "worker1")
    lab.freeze("worker2")
    try:
        with pytest.raises(PodError, match="worker2 did not answer"):
            migrate(strategy, job, Recorder())
        told(job, "worker1", told(job, "worker1")["step"] + 5)
    finally:
        lab.thaw("worker2")
    still_works(job, {})


@pytest.mark.parametrize(
    ("strategy", "after"), [("native", "delete"), ("optimized", "save"), ("live", "checkpoint")]
)
def test_target_hangs_half_way(start, lab, strategy, after) -> None:
    """It comes back later, and must not start the pod a second time then."""
    job = start(patience=1.0, start_patience=3.0)
    frozen = []

    def freeze(phase) -> None:
        if phase.name == after:
            lab.freeze("worker2")
            frozen.append(True)

    try:
        with pytest.raises(PodError, match="worker2 did not answer") as caught:
            migrate(strategy, job, Recorder(freeze))
        assert frozen
        assert "worker1 again" in caught.value.message or "goes on" in caught.value.message
        now = told(job, "worker1")
        told(job, "worker1", now["step"] + 5)
    finally:
        lab.thaw("worker2")
    time.sleep(1.0)  # what hung there would start now
    still_works(job, {})


@pytest.mark.parametrize("strategy", ["native", "optimized"])
def test_target_pod_never_healthy(start, strategy) -> None:
    program = READY_ONLY_HERE.replace(
        "time.sleep(600)", "else: exit(print('no GPU here') or 9)\ntime.sleep(600)"
    )
    fourth = {
        "name": "needs-worker1",
        "image": "labctl/training-pod:1",
        "command": ["python3", "-c", program],
        "readinessProbe": {"tcpSocket": {"port": 9009}},
    }
    job = start(patch={"spec": {"containers": [fourth]}})
    before = told(job, "worker1")
    with refused(job, strategy, "exit code 9") as error:
        assert "no GPU here" in error.message
        assert "removed the pod from worker2" in error.message
    after = still_works(job, before)
    if strategy == "optimized":
        assert after["boot"] == before["boot"]
        assert after["step"] > before["step"]


def test_restored_pod_never_healthy(start) -> None:
    """Its monitor does not answer on the target: the same memory goes on where it came from. It saves nothing: a file of
    the shared volume that is being written when it is frozen is not there any more once the target has gone on."""
    job = replace(start(env={"SAVE_EVERY": "0"}), timeout=2)
    before = told(job, "worker1")

    def silence(phase) -> None:
        if phase.name == "restore":
            job.runtime.pause(job.pod, "worker2", [MONITOR])

    with refused(job, "live", "not ready after 2 s", on_phase=silence) as error:
        assert "run on worker1 again, from where they were" in error.message
    after = still_works(job, before)
    assert after["boot"] == before["boot"]
    assert after["step"] > before["step"]
    assert job.runtime.status(job.pod, "worker1").containers[PROCESSOR].completed


@pytest.fixture
def small_volume(node):
    """A volume of 300 KiB on worker1 (its state alone is larger); on worker2 the same path has room."""
    path = "/srv/small"
    for worker in ("worker1", "worker2"):
        node(worker).mkdir(path)
    done = node("worker1").run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", path])
    assert done.rc == 0, done.error_text()
    yield path
    node("worker1").run(["umount", "-l", path])
    for worker in ("worker1", "worker2"):
        node(worker).remove(path)


@pytest.mark.parametrize("strategy", ["optimized", "live"])
def test_volume_full(start, small_volume, strategy) -> None:
    job = start(volume=small_volume)
    words = "No space left" if strategy == "optimized" else "cannot be checkpointed"
    with refused(job, strategy, words):
        pass


def test_checkpoint_refused_by_the_node(start, node) -> None:
    job = start()
    binary = node("worker2").run(["sh", "-c", "command -v criu"]).text().strip()
    node("worker2").run(["mv", binary, binary + ".off"])
    try:
        with refused(job, "live", "criu is not installed", CheckpointRefused) as error:
            assert "was not touched" in error.message
    finally:
        node("worker2").run(["mv", binary + ".off", binary])


def test_checkpoint_refused_for_one_container(start) -> None:
    """CRIU refuses a held file lock; the others may have been checkpointed and ended by then."""
    program = "import fcntl,time; f=open('/tmp/lock','w'); fcntl.flock(f, fcntl.LOCK_EX); time.sleep(600)"
    fourth = {"name": "locker", "image": "labctl/training-pod:1", "command": ["python3", "-c", program]}
    job = start(patch={"spec": {"containers": [fourth]}})
    before = told(job, "worker1")
    with refused(job, "live", "locker", CheckpointRefused):
        pass
    after = told(job, "worker1")
    assert after["boot"] == before["boot"]
    assert "locker" in job.runtime.status(job.pod, "worker1").running
    assert job.runtime.status(job.pod, "worker1").containers[PROCESSOR].completed


# ------------------------------------------------------------ through the command line


READY_ONLY_HERE = (
    "import os,socket,time\n"
    "if os.environ['NODE_NAME'] == 'worker1':\n"
    "    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "    s.bind(('', 9009)); s.listen(8)\n"
    "time.sleep(600)"
)


def test_interrupt_takes_the_migration_back(start, inventory_file, address, tmp_path) -> None:
    """Ctrl-C while the target is not yet healthy: exit 130, told what was undone, training goes on here."""
    fourth = {
        "name": "late",
        "image": "labctl/training-pod:1",
        "command": ["python3", "-c", READY_ONLY_HERE],
        "readinessProbe": {"tcpSocket": {"port": 9009}},
    }
    patch = {"spec": {"containers": [fourth]}}
    job = start(patch=patch)
    before = told(job, "worker1")
    task = {
        "manifest": str(ROOT / "workloads/training-pod/pod.yml"),
        "patch": patch,
        "env": ENV,
        "to": "worker2",
        "nodes": "workers",
        "strategy": "optimized",
        "dest": "trial",
    }
    play = {
        "hosts": "master",
        "gather_facts": False,
        "vars": {"pod_address": address},
        "tasks": [{"migrate": task}],
    }
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([play]))
    command = [
        sys.executable,
        "-m",
        "labctl",
        "run",
        str(playbook),
        "-i",
        str(inventory_file),
        "--output",
        "json",
    ]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seen = []
    for line in process.stdout:
        seen.append(line)
        if '"create"' in line:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=60)
    output = "".join(seen) + rest
    assert process.returncode == 130, output
    assert "goes on, on worker1" in output
    after = still_works(job, before)
    assert after["boot"] == before["boot"]
