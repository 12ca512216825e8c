"""The embedded lab on this machine: made, repaired, kept apart from its neighbours, removed without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.errors import EnvironmentProblem, UsageError
from labctl.lab import Lab, cgroups, network
from labctl.lab.lab import labs_dir
from labctl.lab.state import load


def small_lab(name: str, *nodes: str) -> Lab:
    spec = SimpleNamespace(
        path=Path("/nowhere/lab.yml"), name=name, nodes={key: {} for key in nodes}, mark=None
    )
    return Lab(spec, instance=f"test-{os.getpid()}")


@pytest.fixture
def own():
    """A lab of the test's own, which it may break."""
    made = small_lab("breakable", "one", "two")
    try:
        made.up()
        yield made
    finally:
        made.down()


def known(lab: Lab):
    found = load(lab.folder)
    assert found is not None
    return found


def links() -> set[str]:
    said = subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout
    return {entry["ifname"] for entry in json.loads(said)}


def traces(identity: str) -> list[str]:
    """Everything on this machine that bears a lab's id."""
    found = [name for name in links() if identity in name]
    found += [str(path) for mount, _ in cgroups.hierarchies() for path in mount.glob(f"labctl/{identity}*")]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if identity in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if " Z " in (process / "stat").read_text():
                continue  # ended; only this machine's own first process has yet to take note
            words = (process / "cmdline").read_bytes() + (process / "cgroup").read_bytes()
        except OSError:
            continue
        if identity.encode() in words:
            found.append(str(process))
    return found


def test_nodes_are_machines_of_their_own(lab, node):
    for name in ("master", "worker1", "worker2"):
        said = (
            node(name).run(["/bin/sh", "-c", "hostname; cat /proc/self/cgroup; ip -br -4 a show eth0"]).text()
        )
        assert said.startswith(f"{name}\n")
        assert lab.connection(name)["ansible_host"] in said
        assert "/labctl/" not in said.replace("/labctl/agent", "")
    assert (
        node("worker1").run(["getent", "hosts", "worker2"]).text().split()[0]
        == lab.connection("worker2")["ansible_host"]
    )


def test_a_node_runs_containerd_and_criu(lab, node):
    one = node("worker1")
    assert one.run(["service", "containerd", "status"]).rc == 0
    assert "Server:" in one.run(["ctr", "version"]).text()
    said = one.run(["criu", "--version"])
    assert lab.connection("worker1")["lab_criu"] in said.text()


def test_a_service_restarts_and_answers_when_restart_returns(node):
    one = node("worker2")
    before = one.read("/run/containerd.pid")
    assert one.run(["service", "containerd", "restart"]).rc == 0
    assert one.read("/run/containerd.pid") != before
    assert one.run(["ctr", "version"]).rc == 0


def test_the_first_process_reaps_orphans(lab):
    """Over plain ssh: labctl's agent adopts the orphans of what it starts itself."""
    at = lab.connection("worker1")
    options = ["-F", "none", "-i", lab.key_file, "-o", f"UserKnownHostsFile={lab.known_hosts}"]
    script = "for i in 1 2 3; do (sh -c 'sleep 0.02 & exec true' &); done; sleep 0.2; cat /proc/[0-9]*/stat"
    said = subprocess.run(
        ["ssh", *options, f"root@{at['ansible_host']}", script], capture_output=True, text=True, check=False
    )
    after_name = [line.rsplit(")", 1)[1].split() for line in said.stdout.splitlines()]
    assert ["S", "0"] in [words[:2] for words in after_name]
    assert ["Z", "1"] not in [words[:2] for words in after_name]


def test_nodes_share_a_directory_that_says_what_it_is(node):
    node("worker1").write("/srv/shared/from-worker1", b"seen")
    assert node("worker2").read("/srv/shared/from-worker1") == b"seen"
    node("master").remove("/srv/shared/from-worker1")
    assert node("master").read("/srv/shared/.labctl-volume") == b"shared-directory\n"


def test_nodes_have_no_way_out(node):
    assert "default" not in node("master").run(["ip", "route"]).text()


def test_up_again_leaves_running_nodes_alone(lab):
    before = [lab.container(name).pid() for name in lab.spec.nodes]
    lab.up()
    assert [lab.container(name).pid() for name in lab.spec.nodes] == before
    assert all(before)


def test_down_leaves_nothing_and_may_be_repeated():
    made = small_lab("short-lived", "one", "two")
    try:
        made.up()
        identity = known(made).id
        assert traces(identity)
    finally:
        made.down()
    assert traces(identity) == []
    assert not list(labs_dir().glob("short-lived*"))
    made.down()
    assert [node.state for node in made.status()] == ["MISSING", "MISSING"]


def test_up_repairs_a_dead_node_and_keeps_its_files_and_key(own):
    container = own.container("one")
    key = container.host_key()
    os.kill(container.pid(), signal.SIGKILL)
    subprocess.run(container.lxc("lxc-wait", "-s", "STOPPED", "-t", "20"), check=True)
    untouched = own.container("two").pid()
    own.up()
    assert [node.ssh for node in own.status()] == [True, True]
    assert own.container("one").host_key() == key
    assert own.container("two").pid() == untouched


def test_up_repairs_a_lost_bridge(own):
    subprocess.run(["ip", "link", "delete", "dev", known(own).bridge], check=True)
    own.up()
    assert [node.ssh for node in own.status()] == [True, True]


def test_up_repairs_a_killed_monitor(own):
    """The monitor of LXC dies; its node lives on, out of LXC's sight."""
    container = own.container("one")
    child = container.pid()
    parent = int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    own.up()
    assert [node.ssh for node in own.status()] == [True, True]
    assert own.container("one").pid() != child


def test_down_removes_a_half_dead_lab(own):
    identity = known(own).id
    child = own.container("one").pid()
    parent = int(Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    subprocess.run(["ip", "link", "delete", "dev", known(own).bridge], check=True)
    own.down()
    assert traces(identity) == []


def test_a_strangers_bridge_is_left_alone(own):
    stranger = "strange0"
    subprocess.run(["ip", "link", "add", "name", stranger, "type", "bridge"], check=True)
    try:
        network.remove_bridge(known(own).id, stranger)
        assert stranger in links()
    finally:
        subprocess.run(["ip", "link", "delete", "dev", stranger], check=True)


def test_two_labs_live_side_by_side(lab):
    other = small_lab("neighbour", "one")
    try:
        other.up()
        assert known(other).subnet != known(lab).subnet
        assert known(other).bridge != known(lab).bridge
    finally:
        other.down()
    assert all(node.ssh for node in lab.status())


def test_two_ups_at_once_make_one_lab():
    made = small_lab("contended", "one")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_lab as t;"
        f" lab = t.small_lab('contended', 'one'); lab.instance = 'test-{os.getpid()}';"
        f" lab.folder = t.Path({str(made.folder)!r}); lab.up()"
    )
    argv = [os.sys.executable, "-c", code, str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        both = [subprocess.Popen(argv, env=environment) for _ in range(2)]
        assert [process.wait(120) for process in both] == [0, 0]
        assert [node.ssh for node in made.status()] == [True]
        assert len([name for name in links() if name.endswith(known(made).id)]) == 1
    finally:
        made.down()


def test_freeze_and_cut_make_a_node_silent(own):
    container = own.container("one")
    own.freeze("one")
    assert container.state() == "FROZEN"
    own.thaw("one")
    assert container.greets(5)
    own.cut("one")
    assert not container.greets(0.3)
    own.restore("one")
    container.wait_for_sshd()


def test_up_thaws_and_reconnects(own):
    own.freeze("one")
    own.cut("two")
    own.up()
    assert [node.ssh for node in own.status()] == [True, True]


def test_an_unknown_node_and_a_lab_that_is_down_are_said_clearly(lab):
    with pytest.raises(UsageError) as caught:
        lab.connection("workr1")
    assert "worker1" in (caught.value.hint or "")
    with pytest.raises(EnvironmentProblem, match="is not up"):
        small_lab("never-made", "one").connection("one")


def test_the_command_line(labctl, tmp_path):
    inventory = tmp_path / "lab.yml"
    inventory.write_text("plugin: lab\nname: by-hand\nnodes:\n  solo: {}\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    try:
        up = labctl("lab", "up", "-i", inventory, env=environment)
        assert up.returncode == 0, up.stderr
        assert "solo 1" in up.stdout
        status = labctl("lab", "status", "-i", inventory)
        assert "RUNNING" in status.stdout
        assert status.returncode == 0
        assert labctl("lab", "ssh", "-i", inventory, "solo", "hostname").stdout == "solo\n"
    finally:
        down = labctl("lab", "down", "-i", inventory)
    assert down.returncode == 0, down.stderr
    gone = labctl("lab", "status", "-i", inventory)
    assert gone.returncode == EnvironmentProblem.exit_code
    assert "MISSING" in gone.stdout
