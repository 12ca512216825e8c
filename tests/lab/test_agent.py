"""The agent on real nodes: what a dead controller, a frozen node and a cut cable leave behind."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labctl.errors import ConnectionLost, NodeError, Unreachable
from labctl.node import link
from labctl.ssh import Connections, ConnectionSettings

ROOT = Path(__file__).resolve().parents[2]
# leaves its parent, its session and its process group; says who it is in $1
ESCAPED = 'echo $$ > "$1.main"; setsid sh -c \'echo $$ > "$0"; exec sleep 600\' "$1" & sleep 600'


@pytest.fixture
def settings(lab):
    return lambda name: ConnectionSettings.from_variables(name, lab.connection(name))


@pytest.fixture
def own():
    """Connections of one test, so that it may break them."""
    made = Connections()
    yield made
    made.close()


@pytest.fixture
def folder(node):
    """A folder on worker1 that is removed afterwards."""
    path = f"/var/tmp/labctl-test-{os.getpid()}-{time.monotonic_ns()}"
    node("worker1").mkdir(path)
    yield path
    node("worker1").remove(path)


def pid_in(node, path: str) -> int:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if text := node.read(path).decode().strip():
                return int(text)
        except NodeError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{path} never held a process id")


def alive(node, pid: int) -> bool:
    try:
        text = node.read(f"/proc/{pid}/stat").decode()
    except NodeError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def gone_within(node, seconds: float, pids: list[int]) -> bool:
    until = time.monotonic() + seconds
    while any(alive(node, pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_three_nodes_answer(node):
    names = ("master", "worker1", "worker2")
    assert [node(name).run(["hostname"]).text().strip() for name in names] == list(names)


def test_steady_state_is_one_round_trip(node, folder):
    worker = node("worker1")
    before = worker.round_trips
    worker.run(["true"])
    worker.write(f"{folder}/file", b"content", mode=0o600)
    assert worker.stat(f"{folder}/file", checksum=True).size == 7
    assert worker.round_trips == before + 3


def test_sigkill_of_the_controller_leaves_nothing(node, settings, folder):
    """Within 5 s nothing that a task started is left on the node; what an ended one left on purpose is."""
    script = f"""
        import threading
        from labctl.ssh import Connections, ConnectionSettings
        connections = Connections()
        node = connections.node({settings("worker1")!r})
        node.run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $! > {folder}/daemon"])
        threading.Thread(target=node.run, args=(["sh", "-c", {ESCAPED!r}, "sh", "{folder}/escaped"],)).start()
        node.start(b"import time; print(1); time.sleep(600)", [], line=lambda text: print("started", flush=True))
        """
    controller = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    worker = node("worker1")
    with controller:
        assert controller.stdout.readline() == "started\n"
        pids = [pid_in(worker, f"{folder}/escaped"), pid_in(worker, f"{folder}/escaped.main")]
        daemon = pid_in(worker, f"{folder}/daemon")
        agent = int(worker.read(f"/proc/{pids[1]}/stat").decode().rpartition(")")[2].split()[1])
        assert all(alive(worker, pid) for pid in [*pids, daemon, agent])
        controller.kill()
    try:
        assert gone_within(worker, 5.0, [*pids, agent])
        assert alive(worker, daemon)
    finally:
        worker.run(["kill", str(daemon)])


def test_cut_cable_ends_what_ran(lab, own, settings, folder, monkeypatch):
    """No packet says goodbye: the agent notices the silence by itself (15 s), and the controller too."""
    monkeypatch.setattr(link, "SILENCE", 18.0)
    worker = own.node(settings("worker1"))
    with ThreadPoolExecutor() as pool:
        running = pool.submit(worker.run, ["sh", "-c", ESCAPED, "sh", f"{folder}/escaped"])
        pids = [pid_in(worker, f"{folder}/escaped"), pid_in(worker, f"{folder}/escaped.main")]
        lab.cut("worker1")
        try:
            with pytest.raises(ConnectionLost):
                running.result(timeout=90)
        finally:
            lab.restore("worker1")
    again = own.node(settings("worker1"))
    assert again is not worker
    assert gone_within(again, 5.0, pids)


def test_frozen_node_is_lost_then_usable(lab, own, settings, monkeypatch):
    monkeypatch.setattr(link, "PING_EVERY", 0.5)
    monkeypatch.setattr(link, "SILENCE", 3.0)
    chosen = ConnectionSettings(**{**settings("worker2").__dict__, "connect_timeout": 4.0})
    worker = own.node(chosen)
    lab.freeze("worker2")
    try:
        with pytest.raises(ConnectionLost, match="no sign of life"):
            worker.run(["true"])
        with pytest.raises(Unreachable):
            own.node(chosen)
    finally:
        lab.thaw("worker2")
    own.drop("worker2")
    assert own.node(chosen).run(["true"]).rc == 0


def test_killed_sshd_session(own, settings, folder, node):
    """sshd's process of this connection dies; the command dies with it and the next task connects again."""
    worker, lost = own.node(settings("worker1")), threading.Event()

    def run():
        try:
            worker.run(["sh", "-c", f"echo $$ > {folder}/pid; exec sleep 600"])
        except ConnectionLost:
            lost.set()

    thread = threading.Thread(target=run)
    thread.start()
    pid = pid_in(worker, f"{folder}/pid")
    sshd = worker.read(f"/proc/{worker.hello['pid']}/stat").decode().rpartition(")")[2].split()[1]
    node("worker1").run(["kill", "-KILL", sshd])
    assert lost.wait(10)
    thread.join()
    assert gone_within(node("worker1"), 5.0, [pid])
    assert own.node(settings("worker1")).run(["true"]).rc == 0


def test_full_disk(node, folder):
    worker, disk = node("worker1"), f"{folder}/disk"
    worker.mkdir(disk)
    assert worker.run(["mount", "-t", "tmpfs", "-o", "size=256k", "labctl-test", disk]).rc == 0
    try:
        worker.write(f"{disk}/file", b"old")
        with pytest.raises(NodeError) as info:
            worker.write(f"{disk}/file", bytes(1 << 20))
        assert info.value.errno_name == "ENOSPC"
        assert [entry.path for entry in worker.list(disk)] == [f"{disk}/file"]
        assert worker.read(f"{disk}/file") == b"old"
    finally:
        worker.run(["umount", disk])


def test_shell_needs_no_python(own, settings):
    chosen = ConnectionSettings(**{**settings("worker1").__dict__, "python": "/no/such/python"})
    assert own.shell(chosen, "echo $0 $1", stdin=b"").rc == 0
    assert own.shell(chosen, "cat", stdin=b"through").stdout == b"through"
