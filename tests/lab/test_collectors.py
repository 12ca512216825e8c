"""Known answers on real containers: what the collectors read of a load whose size is known."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.measure.recording import Recording, read_recording
from labctl.measure.series import Window, cpu_seconds, increases, memory_at
from labctl.node.api import Node
from labctl.node.collection import Collection
from labctl.paths import builtin
from labctl.task_types import Registry

NAMESPACE = "collectors-test"
ROOTFS = "/run/collectors-test"  # the node's own root, bound: pivot_root refuses "/" itself
BUSY = "while True: pass"
HOLD = "import sys,time; held = bytearray(b'x') * (100 << 20); print('held', flush=True); time.sleep(600)"
GREED = "held = [bytearray(b'x') * (8 << 20) for _ in range(100)]"
IDLE = "import time; time.sleep(600)"


class Containers:
    """Containers named `<pod>.<name>` on one node, over the node's own root file system."""

    def __init__(self, node: Node, pod: str) -> None:
        self.node, self.pod = node, pod
        self.made: list[str] = []
        node.mkdir(ROOTFS)
        assert node.run(["mount", "--bind", "/", ROOTFS]).rc == 0

    def ctr(self, *argv: str, check: bool = True) -> str:
        done = self.node.run(["ctr", "-n", NAMESPACE, *argv], timeout=60)
        assert not check or done.rc == 0, done.error_text()
        return done.text()

    def run(self, name: str, program: str, *options: str) -> str:
        container = f"{self.pod}.{name}"
        self.made.append(container)
        log = f"/tmp/{container}.log"
        self.ctr(
            "run", "-d", "--rootfs", "--read-only", "--log-uri", f"file://{log}", *options, ROOTFS, container,
            "/usr/bin/python3", "-I", "-S", "-c", program,
        )  # fmt: skip
        return f"{self.pod}/{name}"

    def remove(self, container: str) -> None:
        self.ctr("task", "kill", "-s", "SIGKILL", container, check=False)
        self.ctr("task", "rm", "-f", container, check=False)
        self.ctr("container", "rm", container, check=False)
        self.node.remove(f"/tmp/{container}.log")

    def close(self) -> None:
        for container in self.made:
            self.remove(container)
        self.node.run(["umount", "-l", ROOTFS])
        self.node.remove(ROOTFS)


@pytest.fixture
def containers(node: Callable[[str], Node], request: pytest.FixtureRequest) -> Iterator[Containers]:
    made = Containers(node("worker1"), request.node.name.replace("_", "-").removeprefix("test-"))
    yield made
    made.close()


class Watch:
    """Waits for a condition on the lines of a collection's file."""

    def __init__(self, node: Node, pod: str, path: Path, **arguments: object) -> None:
        values = {"interval": 0.1, "root": NAMESPACE, "pod": pod, **arguments}
        self.path = path
        self.collection = Collection(node, builtin("collectors") / "cgroup.py", values, path)

    def until(self, condition: Callable[[Recording], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(read_recording(self.path.read_text().splitlines())):
                return
            threading.Event().wait(0.2)
        raise AssertionError(f"not seen within {seconds} s; last: {self.path.read_text()[-2000:]}")

    def stop(self) -> Recording:
        self.cost = self.collection.stop()
        return read_recording(self.path.read_text().splitlines())


def lasted(seconds: float) -> Callable[[Recording], bool]:
    def condition(recording: Recording) -> bool:
        samples = recording.samples
        return bool(samples) and samples[-1].t - samples[0].t >= seconds

    return condition


def limited(recording: Recording, name: str, seconds: float) -> Window | None:
    """The latest window in which the container's limit alone set its pace: throttled in every period. On a
    machine that is busy with other work it may not get even its quarter, which is no fault of the reading."""
    samples = [sample for sample in recording.samples if name in sample.containers]
    for end in reversed(samples):
        start = next((sample for sample in samples if sample.t >= end.t - seconds), end)
        first, last = start.containers[name], end.containers[name]
        periods, throttled = last.periods - first.periods, last.throttled - first.throttled
        if end.t - start.t >= seconds * 0.9 and periods - throttled <= 1:
            return Window(start.t, end.t)
    return None


def test_a_quarter_of_a_cpu_reads_a_quarter(containers: Containers, tmp_path: Path) -> None:
    name = containers.run("burn", BUSY, "--cpus", "0.25")
    watch = Watch(containers.node, containers.pod, tmp_path / "cgroup.jsonl")
    watch.until(lambda recording: limited(recording, name, 5.0) is not None, 120)
    recording = watch.stop()
    window = limited(recording, name, 5.0)
    used = cpu_seconds([recording], [name], window)
    assert used.value is not None
    assert used.value / window.seconds == pytest.approx(0.25, abs=0.02)
    assert increases([recording], [name], "throttled_usec", window) > 0


def test_a_hundred_mebibytes_read_a_hundred(containers: Containers, tmp_path: Path) -> None:
    name = containers.run("hold", HOLD)
    watch = Watch(containers.node, containers.pod, tmp_path / "cgroup.jsonl")

    def anon(recording: Recording) -> float:
        return (memory_at([recording], [name], recording.samples[-1].t, "anon") or 0) / 2**20

    watch.until(lambda recording: bool(recording.samples) and anon(recording) > 95)
    recording = watch.stop()
    assert anon(recording) == pytest.approx(100, abs=5)
    counters = recording.samples[-1].containers[name]
    assert counters.working_set <= counters.memory
    assert counters.peak >= counters.memory


def test_an_oom_kill_is_reported(containers: Containers, tmp_path: Path) -> None:
    watch = Watch(containers.node, containers.pod, tmp_path / "cgroup.jsonl")
    name = containers.run("greed", GREED, "--memory-limit", str(64 << 20))
    watch.until(
        lambda r: bool(r.samples) and any((c.oom_kills or 0) for c in r.samples[-1].containers.values())
    )
    recording = watch.stop()
    window = Window(recording.samples[0].t, recording.samples[-1].t)
    assert increases([recording], [name], "oom_kills", window) == 1


def test_three_containers_at_ten_hertz_cost_under_a_hundredth_of_a_core(
    containers: Containers, tmp_path: Path
) -> None:
    containers.pod = "cost"
    names = [containers.run(name, IDLE) for name in ("a", "b", "c")]
    watch = Watch(containers.node, containers.pod, tmp_path / "cgroup.jsonl")
    watch.until(lasted(10.0))
    recording = watch.stop()
    assert set(recording.samples[-1].containers) == set(names)
    assert watch.cost.overhead < 1.0


def test_cpu_used_between_the_last_sample_and_the_end_is_not_lost(
    containers: Containers, tmp_path: Path
) -> None:
    containers.pod = "vanish"
    watch = Watch(containers.node, containers.pod, tmp_path / "cgroup.jsonl", interval=2.0)
    name = containers.run("burn", BUSY, "--cpus", "0.5")
    watch.until(lambda recording: any(name in sample.containers for sample in recording.samples))
    threading.Event().wait(1.0)  # most of an interval of work that no sample sees
    containers.remove("vanish.burn")
    watch.until(lambda recording: bool(recording.vanished))
    recording = watch.stop()
    (gone,) = recording.vanished
    assert gone.missed_usec > 50_000
    total = cpu_seconds([recording], [name], Window(recording.samples[0].t, recording.samples[-1].t))
    last = [s.containers[name].cpu_usec for s in recording.samples if name in s.containers][-1]
    assert total.value == pytest.approx((last + gone.missed_usec) / 1e6)


def test_facts_of_a_node(node: Callable[[str], Node], tmp_path: Path) -> None:
    setup = Registry().get("setup")
    ctx = SimpleNamespace(
        host="worker1", node=node("worker1"), run_dir=tmp_path, shared={}, mark=None, environment={}
    )
    facts = setup.run(setup.bind({}, lambda _: None), ctx)["ansible_facts"]
    assert facts["ansible_hostname"] == "worker1"
    assert facts["ansible_cgroup"]["version"] in (1, 2, "hybrid")
    assert facts["ansible_containerd_version"].startswith("1.")
    address = node("worker1").run(["hostname", "-I"]).text().split()[0]
    assert address in facts["ansible_all_ipv4_addresses"]
    assert facts["ansible_processor_vcpus"] >= 1
    written = json.loads((tmp_path / "facts" / "worker1.json").read_text())
    assert written["kernel"] == facts["ansible_kernel"]
    assert setup.run(setup.bind({"filter": "ansible_kernel"}, lambda _: None), ctx)[
        "ansible_facts"
    ].keys() == {"ansible_kernel"}
