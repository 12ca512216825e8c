"""The limits of a real notebook on a real node: found, named, repeated; and nothing left, whenever labctl is killed."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.waiting import eventually

pytestmark = pytest.mark.timeout(1500)

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = ROOT / "playbooks/notebook_limits.yml"
MIB = 2**20
KILLS = 20
BYSTANDER = """\
    apiVersion: v1
    kind: Pod
    metadata: {name: bystander}
    spec:
      restartPolicy: Never
      containers:
        - name: idle
          image: labctl/notebook:1
          command: [python3, -c, "import time; time.sleep(1000000)"]
    """
PREPARE = f"""\
    - hosts: worker1
      gather_facts: false
      tasks:
        - image: {{recipe: {ROOT}/workloads/notebook/recipe.yml}}
        - pod: {{manifest: bystander.yml}}
    """
# A search that takes some seconds, in each of the three resources.
SHORT = """\
    - hosts: worker1
      gather_facts: false
      tasks:
        - find_limit:
            name: {name}
            resource: "{{{{ item }}}}"
            memory: 192Mi
            disk: 48Mi
            seconds: 0.3
            tolerance: 0.05
            repetitions: 1
            max_steps: "{{{{ 3 if item == 'cpu' else 8 }}}}"
          loop: {order}
    """


def dedent(text: str) -> str:
    return "\n".join(line[4:] for line in text.splitlines()) + "\n"


@pytest.fixture(scope="module")
def bystander(lab, node, labctl, inventory_file, tmp_path_factory):
    """worker1 has the notebook's image and another pod; how that pod's process is known."""
    folder = tmp_path_factory.mktemp("bystander")
    (folder / "bystander.yml").write_text(dedent(BYSTANDER))
    (folder / "site.yml").write_text(dedent(PREPARE))
    provisioned = labctl("run", ROOT / "playbooks/provision.yml", "-i", inventory_file, cwd=folder)
    assert provisioned.returncode == 0, provisioned.stdout + provisioned.stderr
    done = labctl("run", "site.yml", "-i", inventory_file, cwd=folder, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    yield lambda: node("worker1").call("neighbours", "neighbours", namespace="labctl", without=[])
    gone = "- hosts: worker1\n  gather_facts: false\n  tasks:\n    - pod: {manifest: bystander.yml, state: absent, grace: 0}\n"
    (folder / "gone.yml").write_text(gone)
    labctl("run", "gone.yml", "-i", inventory_file, cwd=folder)


def present(node, name: str) -> dict[str, object]:
    """Whatever of a notebook of this name, or of its load, is on worker1."""
    one = node("worker1")

    def lines(command: str) -> list[str]:
        return one.run(["sh", "-c", command]).text().split("\n")[:-1]

    return {
        "containers": lines(
            f"ctr -n labctl containers ls -q | grep -F {name}; ctr -n labctl tasks ls -q | grep -F {name}"
        ),
        "snapshots": lines(f"ctr -n labctl snapshots ls | grep -F {name}"),
        "mounts": lines(f"grep -F {name} /proc/mounts"),
        "loops": lines(f"cat /sys/block/loop*/loop/backing_file | grep -F {name}"),
        "files": lines(
            f"find /run/labctl /var/lib/labctl /var/log/pods /var/tmp /tmp /dev/shm -name '*{name}*' 2>/dev/null"
        ),
        "namespaces": lines(f"ip netns list | grep -F {name}"),
        "cgroups": lines(f"find /sys/fs/cgroup -type d -name '*{name}*'"),
    }


def programs(node) -> Counter[str]:
    """The command lines on worker1, those of SSH sessions and their agents aside."""
    mine = node("worker1").run(["sh", "-c", "ps -eo args --no-headers -ww"]).text().splitlines()
    strange = ("python3", "ipykernel", "stress", "manager.py", "containerd-shim", "mke2fs")
    return Counter(
        line for line in mine if any(word in line for word in strange) and "import os,sys,zlib" not in line
    )


# ------------------------------------------------------------ the playbook


@pytest.fixture(scope="module")
def found(bystander, node, labctl, inventory_file, tmp_path_factory):
    """A whole run of the playbook: its folder, its report.json; before and after it, what else ran on the node."""
    folder = tmp_path_factory.mktemp("limits")
    before, running = bystander(), programs(node)
    done = labctl("run", PLAYBOOK, "-i", inventory_file, cwd=folder, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    run = (folder / "runs/latest").resolve()
    return {
        "run": run,
        "report": json.loads((run / "report.json").read_text()),
        "before": before,
        "after": bystander(),
        "programs": (running, programs(node)),
    }


def search(found, resource: str) -> dict:
    return found["report"]["searches"][f"worker1-{resource}"]


def test_memory_ends_at_the_containers_limit_by_oom(found):
    memory = search(found, "memory")
    assert memory["limits"]["memory"] == 512 * MIB
    assert memory["cause"] == "oom"
    assert memory["share_of_limit"] == pytest.approx(1, abs=0.02)
    assert (
        0
        < memory["first_bad"] - memory["last_good"]
        <= 0.02 * memory["first_bad"] + memory["spread"]["high"] - memory["spread"]["low"]
    )
    for one in memory["repetitions"]:
        assert one["cause"] == "oom"
        assert one["first_bad"] - one["last_good"] <= 0.02 * 512 * MIB
    deaths = [step["record"]["death"] for step in memory["steps"] if step["record"]["death"]]
    killed = [death for death in deaths if death["cause"] == "oom"]
    assert len(killed) >= 3
    assert all(
        death["oom_kill"] >= 1 and death["signal"] == 9 and death["what"] == "kernel" for death in killed
    )
    assert all(death["detected_after_s"] is not None for death in deaths)


def test_the_disk_ends_at_its_size_by_enospc(found):
    disk = search(found, "disk")
    assert (disk["limits"]["disk"], disk["cause"]) == (256 * MIB, "enospc")
    assert disk["last_good"] == pytest.approx(256 * MIB, rel=0.02)
    assert disk["share_of_limit"] == pytest.approx(1, abs=0.02)
    full = [step["record"] for step in disk["steps"] if not step["good"]]
    assert all(step["survived"] and step["error"]["errno"] == "ENOSPC" for step in full)


def test_processes_bend_at_the_quota_and_are_throttled(found):
    cpu = search(found, "cpu")
    assert (cpu["limits"]["cpu"], cpu["first_bad"]) == (1.0, None)
    assert all(step["record"]["pct_of_limit"] < 110 for step in cpu["steps"]), "the quota holds"
    if any(step["crowded"] for step in cpu["steps"]):  # other programs of this machine used its processors
        assert cpu["knee"] in (1, None)
        assert any(limit.startswith("CPU: in ") for limit in found["report"]["limits"])
        return
    assert (cpu["knee"], cpu["cause"]) == (1, "throttle")
    beyond = [step["record"] for step in cpu["steps"] if step["requested"] > 1]
    assert (
        sum(record["nr_throttled"] > 0 and record["throttled_pct"] > 5 for record in beyond) > len(beyond) / 2
    )


def test_three_repetitions_agree(found):
    for resource in ("memory", "disk"):
        agree = search(found, resource)["spread"]
        assert agree["n"] == 3
        assert agree["share"] <= 0.05
    knees = [one["knee"] for one in search(found, "cpu")["repetitions"]]
    assert len(knees) == 3
    assert set(knees) <= {1, None}, "None: that repetition was crowded"


def test_the_node_and_its_other_containers_live_on(found):
    for part in ("boot", "services"):
        assert found["after"][part] == found["before"][part]
    assert "bystander.idle" in found["before"]["containers"]
    assert found["after"]["containers"] == found["before"]["containers"]
    claims = {claim["text"]: claim for claim in found["report"]["claims"]}
    assert claims["The node and its other containers live on"]["holds"] is True


def test_nothing_of_the_notebook_is_left(found, node):
    assert not any(present(node, "notebook.").values()), present(node, "notebook.")
    before, after = found["programs"]
    assert after == before


def test_every_figure_can_be_recomputed(found):
    again = [sys.executable, ROOT / "tests/unit/recompute_limits.py", found["run"]]
    done = subprocess.run(again, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_step_has_what_a_report_needs(found):
    for resource in ("cpu", "memory", "disk"):
        for step in search(found, resource)["steps"]:
            record = step["record"]
            assert record["limit"] is not None
            assert record["responsiveness_ms"]["count"] >= 1, (resource, step["requested"])
            if step["good"]:
                assert record["throughput"] > 0
                assert record["achieved"] >= step["requested"]
            if record["psi_some_avg10"] is None:
                assert record["psi_reason"]


# ------------------------------------------------------------ killed at any step


def begun(folder: Path) -> int:
    """How many steps the journals of the run in this folder have announced."""
    return sum(
        path.read_text().count('"event": "begin"') for path in folder.glob("runs/latest/limits/*.jsonl")
    )


def test_killed_at_random_steps_it_leaves_nothing(bystander, node, labctl, inventory_file, tmp_path):
    chance = random.Random(20)
    before, running = bystander(), programs(node)
    resources = ["memory", "disk", "cpu"]
    reached: Counter[str] = Counter()
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        name = f"killed-{os.getpid()}-{number}"
        order = resources[number % 3 :] + resources[: number % 3]
        (folder / "site.yml").write_text(dedent(SHORT.format(name=name, order=json.dumps(order))))
        run = subprocess.Popen(
            [sys.executable, "-m", "labctl", "run", "site.yml", "-i", str(inventory_file)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            steps = 0 if number < 3 else chance.randint(1, 9)
            if steps:
                eventually(
                    lambda at=folder, n=steps, going=run: begun(at) >= n or going.poll() is not None,
                    60,
                    "no step began",
                )
            else:  # while the notebook is being made
                eventually(lambda n=name: any(present(node, n).values()), 60, "no notebook was made")
            time.sleep(chance.random() * 0.8)
            reached["killed" if run.poll() is None else "ended"] += 1
        finally:
            run.kill()
            run.wait()
        eventually(
            lambda n=name: not any(present(node, n).values()) and programs(node) == running,
            30,
            lambda n=name, r=number: f"kill {r} left {present(node, n)} {programs(node) - running}",
        )
    assert reached["killed"] == KILLS, reached
    assert bystander() == before
    again = labctl("run", "site.yml", "-i", inventory_file, "--resume", "last", cwd=tmp_path / str(KILLS - 1))
    assert again.returncode == 0, again.stdout[-4000:] + again.stderr
    journals = (tmp_path / str(KILLS - 1) / "runs/latest/limits").glob("*.jsonl")
    assert sorted(path.name for path in journals) == [
        "worker1-cpu.jsonl",
        "worker1-disk.jsonl",
        "worker1-memory.jsonl",
    ]
