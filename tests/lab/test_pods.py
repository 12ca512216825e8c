"""Pods on real nodes: containerd, cgroups, the address that moves, how containers end."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from labctl.pods.containerd import Containerd
from labctl.pods.errors import PodError
from labctl.pods.manifest import parse_pod
from labctl.pods.runtime import Progress
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
VOLUME = "/srv/shared"


def container(name: str, *command: str, **more) -> dict:
    return {"name": name, "image": "labctl/training-pod:1", "command": list(command), **more}


def manifest(name: str, *containers: dict, address: str | None = None, **spec) -> dict:
    annotations = {"labctl/address": address} if address else {}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, **spec}
    metadata = {"name": name, "annotations": annotations}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {**spec, "containers": list(containers)},
    }


@pytest.fixture
def runtime(node, training_image) -> Containerd:
    return Containerd(node, ["worker1", "worker2"], lambda _host: VOLUME)


@pytest.fixture
def address(lab) -> str:
    return lab.connection("worker1")["ansible_host"].rsplit(".", 1)[0] + ".200"


@pytest.fixture
def deploy(runtime):
    """Deploy a pod on a node; it is deleted at the test's end."""
    made = []

    def call(document: dict, where: str = "worker1", **more):
        pod = parse_pod(document)
        made.append(pod)
        return pod, runtime.apply(pod, where, **more)

    yield call
    for pod in made:
        for worker in ("worker1", "worker2"):
            runtime.delete(pod, worker, grace_seconds=0)


def until(condition):
    return eventually(condition, 20, "it did not happen in time")


def test_how_containers_end_is_kept(deploy, runtime) -> None:
    eats = "a = []\nwhile True: a.append(bytearray(b'x' * 4194304))"
    pod, _ = deploy(
        manifest(
            "ends",
            container("well", "true"),
            container("badly", "sh", "-c", "exit 7"),
            container("hungry", "python3", "-c", eats, resources={"limits": {"memory": "48Mi"}}),
            container("runs", "sleep", "600"),
        )
    )
    before = time.time() + 1
    found = until(lambda: (s := runtime.status(pod, "worker1")) and len(s.running) == 1 and s.containers)
    ends = {name: (one.state, one.exit_code, one.reason) for name, one in found.items()}
    assert ends == {
        "well": ("terminated", 0, "Completed"),
        "badly": ("terminated", 7, "Error"),
        "hungry": ("terminated", 137, "OOMKilled"),
        "runs": ("running", None, None),
    }
    assert found["well"].completed
    assert not found["badly"].completed
    assert before - 30 < found["well"].finished_at < time.time() + 1


def test_cgroup_is_where_the_collector_looks_and_carries_the_limits(deploy, node) -> None:
    limits = {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
    _, status = deploy(manifest("limited", container("main", "sleep", "600", resources=limits)))
    paths = status.containers["main"].cgroups

    def read(controller: str, file: str) -> str:
        return node("worker1").read(f"{paths[controller]}/{file}").decode().strip()

    assert all(path.endswith("/labctl/limited.main") for path in paths.values())
    if "unified" in paths:
        assert read("unified", "cpu.max") == "50000 100000"
        assert read("unified", "memory.max") == str(64 << 20)
    else:
        assert read("cpu", "cpu.cfs_quota_us") == "50000"
        assert read("cpu", "cpu.shares") == "256"
        assert read("memory", "memory.limit_in_bytes") == str(64 << 20)


def test_delete_leaves_nothing(deploy, runtime, node, address) -> None:
    def traces() -> set[str]:
        listing = (
            "ls /run/netns; ls /sys/class/net; ip route show; ip neigh show proxy; ctr -n labctl c ls -q;"
            " find /run/labctl/pods -mindepth 1; find /sys/fs/cgroup -path '*labctl/gone*' -type d"
        )
        return set(node("worker1").run(["sh", "-c", listing]).text().splitlines())

    before = traces()
    pod, _ = deploy(
        manifest(
            "gone",
            container("main", "sleep", "600", volumeMounts=[{"name": "own", "mountPath": "/own"}]),
            container("stubborn", "sh", "-c", "trap '' TERM; while :; do sleep 1; done"),
            address=address,
            volumes=[{"name": "own", "emptyDir": {}}],
        )
    )
    assert len(traces() - before) > 8
    assert runtime.delete(pod, "worker1", grace_seconds=0.3) is True
    assert traces() == before
    assert runtime.delete(pod, "worker1") is False


def test_apply_is_all_or_nothing(deploy, runtime, node, address) -> None:
    with pytest.raises(PodError, match="no-such-program") as caught:
        deploy(
            manifest(
                "half",
                container("good", "sleep", "600"),
                container("bad", "/no-such-program"),
                address=address,
            )
        )
    assert "container bad of pod half on worker1" in caught.value.message
    pod = parse_pod(manifest("half", container("good", "sleep", "600")))
    assert runtime.status(pod, "worker1") is None
    assert b"half" not in node("worker1").run(["ctr", "-n", "labctl", "c", "ls", "-q"]).stdout
    assert not node("worker1").run(["ls", "/run/netns"]).text().count("labctl-half")


def test_image_that_is_not_there(deploy) -> None:
    with pytest.raises(PodError, match="labctl/none:1"):
        deploy(manifest("imageless", {**container("main", "true"), "image": "labctl/none:1"}))


def test_environment_is_given_but_not_in_argv(deploy, runtime, node) -> None:
    env = [{"name": "TOKEN", "value": "s3 cr=et"}]
    program = "import os,time; print(os.environ['TOKEN'], os.environ['POD_NAME'], os.environ['NODE_NAME'], flush=True); time.sleep(600)"
    pod, _ = deploy(manifest("env", container("main", "python3", "-c", program, env=env)))
    until(lambda: runtime.logs(pod, "worker1", "main"))
    assert runtime.logs(pod, "worker1", "main").strip() == "s3 cr=et env worker1"
    assert node("worker1").stat("/run/labctl/pods/env/main.env").mode & 0o777 == 0o600
    done = runtime.exec(pod, "worker1", "main", ["cat", "/proc/self/cgroup"])
    assert done.rc == 0


def test_same_address_on_another_node(deploy, runtime, node, address) -> None:
    """Seen from the controller, which stands outside both nodes, over one long-lived ARP entry."""
    program = (
        "import http.server,os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        " def do_GET(self):\n"
        '  self.send_response(200); self.end_headers(); self.wfile.write(b\'{"step": 1, "node": "%s"}\' % os.environ[\'NODE_NAME\'].encode())\n'
        "http.server.ThreadingHTTPServer(('', 8080), H).serve_forever()"
    )
    probe = {"httpGet": {"path": "/", "port": 8080}}
    document = manifest(
        "moves",
        container("main", "python3", "-c", program, ports=[{"containerPort": 8080}], readinessProbe=probe),
        address=address,
    )

    def who() -> str:
        with urllib.request.urlopen(f"http://{address}:8080/", timeout=2) as answer:
            return json.load(answer)["node"]

    pod, _ = deploy(document)
    runtime.wait(pod, "worker1", 20)
    assert who() == "worker1"
    runtime.apply(pod, "worker2", serve=False)
    healthy = runtime.wait(pod, "worker2", 20, Progress(f"http://{address}:8080/", 1))
    assert healthy.told["node"] == "worker2", "the target reaches its own pod before it is told to others"
    assert who() == "worker1"
    runtime.serve(pod, "worker2")
    runtime.delete(pod, "worker1", grace_seconds=0)
    assert who() == "worker2"


def test_wait_says_what_failed(deploy, runtime, address) -> None:
    pod, _ = deploy(manifest("fails", container("main", "sh", "-c", "echo no data; sleep 0.2; exit 3")))
    with pytest.raises(PodError, match="exit code 3") as caught:
        for _ in range(50):
            runtime.wait(pod, "worker1", 5)
            time.sleep(0.05)
    assert "no data" in caught.value.message


def test_pause_and_signal(deploy, runtime) -> None:
    program = "import signal,time\nsignal.signal(signal.SIGUSR1, lambda *_: print('usr1', flush=True))\nprint('up', flush=True)\nwhile True: time.sleep(60)"
    pod, _ = deploy(manifest("signals", container("main", "python3", "-c", program)))
    until(lambda: "up" in runtime.logs(pod, "worker1", "main"))
    runtime.pause(pod, "worker1", ["main"])
    assert runtime.status(pod, "worker1").containers["main"].paused
    runtime.signal(pod, "worker1", "main", "USR1")
    runtime.unpause(pod, "worker1", ["main"])
    until(lambda: "usr1" in runtime.logs(pod, "worker1", "main"))
    assert not runtime.status(pod, "worker1").containers["main"].paused


def test_find_and_prepare(deploy, runtime) -> None:
    pod, _ = deploy(manifest("found", container("main", "sleep", "600")), "worker2")
    assert runtime.find("found").node == "worker2"
    assert runtime.find("nowhere") is None
    with pytest.raises(PodError, match="already on this node"):
        runtime.prepare(pod, "worker2")
    runtime.prepare(pod, "worker1")


def test_second_run_changes_nothing(labctl, inventory_file, training_image, tmp_path, runtime) -> None:
    """image and pod as tasks: made once, then left alone; another manifest is another pod."""
    document = manifest("twice", container("main", "sleep", "600"))
    (tmp_path / "pod.yml").write_text(json.dumps(document))
    tasks = [
        {"image": {"recipe": str(ROOT / "workloads/training-pod/recipe.yml")}},
        {"pod": {"manifest": "pod.yml", "env": {"MODE": "{{ mode }}"}}},
    ]
    play = {"hosts": "worker1", "gather_facts": False, "tasks": tasks}
    (tmp_path / "playbook.yml").write_text(json.dumps([play]))
    pod = parse_pod(document)

    def changed(mode: str, *options: str) -> str:
        done = labctl(
            *("run", tmp_path / "playbook.yml", "-i", inventory_file, "-e", f"mode={mode}", *options),
            cwd=tmp_path,
        )
        assert done.returncode == (3 if options else 0), done.stdout + done.stderr
        return next(word for word in done.stdout.split("RECAP")[1].split() if word.startswith("changed="))

    try:
        assert changed("a", "--dry-run") == "changed=1"
        assert runtime.status(pod, "worker1") is None
        assert changed("a") == "changed=1"
        first = runtime.status(pod, "worker1").containers["main"].pid
        assert changed("a") == "changed=0"
        assert runtime.status(pod, "worker1").containers["main"].pid == first
        assert changed("b") == "changed=1"
        assert runtime.status(pod, "worker1").containers["main"].pid != first
    finally:
        runtime.delete(pod, "worker1", grace_seconds=0)
