"""Connections that worker processes hold, to a real sshd: everything is as it is without them, and neither
a worker nor the controller outlives the other's death by much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from labctl.errors import AuthenticationFailed, BecomeFailed, ConnectionLost, NoPython, Unreachable
from labctl.ssh import Become, Connections, connections, relay_workers
from tests.processes import alive, gone
from tests.unit import test_ssh_connections
from tests.unit.test_ssh_connections import (
    PASSWORD,
    USER,
    Sshd,
    free_port,
)
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a test sshd that lets users in needs root")


sshd, user = test_ssh_connections.sshd, test_ssh_connections.user  # fixtures


def workers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and "labctl.ssh.relay_worker" in child.cmdline()
    ]


@pytest.fixture
def relayed(monkeypatch):
    """Connections that leave every host to one of two workers."""
    monkeypatch.setattr(connections, "_MANY", 2)
    monkeypatch.setattr(relay_workers, "workers_for", lambda hosts: hosts)
    made = Connections()
    made.expect(2)
    yield made
    made.close()
    assert not workers()


def awaited(path: Path) -> str:
    """What a command writes into a file, as soon as it has."""
    eventually(
        lambda: path.exists() and path.read_text().endswith("\n"), 10, f"nothing came into {path}", every=0.01
    )
    return path.read_text()


class TestWorks:
    def test_an_agent(self, sshd: Sshd, relayed: Connections):
        assert not workers()
        node = relayed.node(sshd.settings())
        assert len(workers()) == 2
        assert node.run(["id", "-un"]).text() == "root\n"
        assert relayed.node(sshd.settings()) is node

    def test_sixty_four_mebibytes(self, sshd: Sshd, relayed: Connections, tmp_path: Path):
        node = relayed.node(sshd.settings())
        source = tmp_path / "source"
        source.write_bytes(os.urandom(1 << 20) * 64)
        node.put(source, str(tmp_path / "there"))
        node.get(str(tmp_path / "there"), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()

    def test_both_ways_at_once(self, sshd: Sshd, relayed: Connections):
        node = relayed.node(sshd.settings())
        data = os.urandom(1 << 20) * 4
        with ThreadPoolExecutor(4) as pool:
            for done in pool.map(lambda _: node.run(["cat"], stdin=data), range(4)):
                assert done.stdout == data

    def test_drop_then_again(self, sshd: Sshd, relayed: Connections):
        node = relayed.node(sshd.settings())
        sshd_child = psutil.Process(node.hello["pid"]).parent()
        assert sshd_child
        relayed.drop("web1")
        with pytest.raises(ConnectionLost):
            node.stat("/")
        assert gone([sshd_child.pid], within=5.0)
        assert relayed.node(sshd.settings()).stat("/").type == "directory"

    def test_users_share_a_transport(self, sshd: Sshd, relayed: Connections, user: str):
        node, other = relayed.node(sshd.settings()), relayed.node(sshd.settings(), Become("daemon"))
        assert other.run(["id", "-un"]).text() == "daemon\n"
        family = [{one.pid for one in psutil.Process(each.hello["pid"]).parents()} for each in (node, other)]
        assert {one for one in family[0] & family[1] if "sshd" in psutil.Process(one).name()} > {
            sshd.process.pid
        }

    def test_a_password(self, sshd: Sshd, relayed: Connections, user: str):
        settings = sshd.settings(user=USER, key_files=(), password=PASSWORD)
        node = relayed.node(settings, Become("root", password=PASSWORD))
        assert node.run(["id", "-un"]).text() == "root\n"
        for worker in workers():
            assert PASSWORD not in " ".join([*worker.cmdline(), *worker.environ().values()])

    def test_close_ends_what_runs(self, sshd: Sshd, relayed: Connections, tmp_path: Path):
        node = relayed.node(sshd.settings())
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(node.run, ["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"])
            pid = int(awaited(tmp_path / "pid"))
            relayed.close()
            with pytest.raises(ConnectionLost):
                waiting.result(timeout=10)
        assert gone([pid], within=5.0)
        with pytest.raises(ConnectionLost):
            relayed.node(sshd.settings())

    def test_few_hosts_need_no_worker(self, sshd: Sshd):
        made = Connections()
        try:
            made.expect(199)
            assert made.node(sshd.settings()).run(["true"]).rc == 0
            assert not workers()
        finally:
            made.close()

    def test_as_many_as_there_are_further_processors(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
        assert [relay_workers.workers_for(hosts) for hosts in (200, 350, 10_000)] == [2, 3, 3]
        for few in (1, 2):
            monkeypatch.setattr(os, "sched_getaffinity", lambda _, few=few: range(few))
            assert relay_workers.workers_for(10_000) == 0


class TestFailures:
    def test_wrong_key(self, sshd: Sshd, relayed: Connections):
        settings = sshd.settings(key_files=(str(sshd.folder / "other"),))
        direct = Connections()
        found = []
        for one in (relayed, direct):
            with pytest.raises(AuthenticationFailed, match="does not let user 'root' in") as info:
                one.node(settings)
            found.append(info.value.report())
        direct.close()
        assert found[0] == found[1]
        assert "hint: check ansible_user" in found[0]

    def test_refused(self, sshd: Sshd, relayed: Connections):
        with pytest.raises(Unreachable, match="refuses the connection"):
            relayed.node(sshd.settings(port=free_port()))

    def test_no_python(self, sshd: Sshd, relayed: Connections):
        """What the host says of it comes over standard error."""
        with pytest.raises(NoPython, match="host web1 has no '/no/such/python'"):
            relayed.node(sshd.settings(python="/no/such/python"))

    def test_wrong_become_password(self, sshd: Sshd, relayed: Connections, user: str):
        with pytest.raises(BecomeFailed, match="does not accept the become password"):
            relayed.node(sshd.settings(user=USER), Become("root", password="tr0ub4dor"))

    def test_a_frozen_host_holds_up_no_other(self, sshd: Sshd, relayed: Connections, tmp_path: Path):
        """Of many hosts with one worker, one is frozen with all buffers on its way full."""
        frozen, other = relayed.node(sshd.settings(host="frozen")), relayed.node(sshd.settings())
        sshd_child = psutil.Process(frozen.hello["pid"]).parent()
        assert sshd_child
        sshd_child.suspend()
        try:
            with ThreadPoolExecutor() as pool:
                writing = pool.submit(frozen.write, str(tmp_path / "big"), bytes(64 << 20))
                for _ in range(20):
                    assert other.run(["true"], timeout=15).rc == 0
                assert not writing.done()
                relayed.drop("frozen")
                with pytest.raises(ConnectionLost):
                    writing.result(timeout=20)
        finally:
            sshd_child.kill()
        assert other.run(["true"]).rc == 0


class TestDeath:
    def test_of_a_worker(self, sshd: Sshd, relayed: Connections, tmp_path: Path):
        node = relayed.node(sshd.settings())
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(node.run, ["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"])
            pid = int(awaited(tmp_path / "pid"))
            for worker in workers():
                worker.kill()
            with pytest.raises(ConnectionLost):
                waiting.result(timeout=10)
        assert gone([pid], within=5.0)
        assert relayed.node(sshd.settings()).run(["true"]).rc == 0
        assert workers()

    def test_of_a_worker_that_cannot_start(
        self, sshd: Sshd, relayed: Connections, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(sys, "executable", "/bin/false")
        assert relayed.node(sshd.settings()).run(["true"]).rc == 0
        assert not workers()

    def test_signals_to_a_worker_are_the_controllers_to_handle(self, sshd: Sshd, relayed: Connections):
        node = relayed.node(sshd.settings())
        for worker in workers():
            assert os.getsid(worker.pid) != os.getsid(0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                worker.send_signal(number)
        assert node.run(["true"]).rc == 0

    def test_of_the_controller(self, sshd: Sshd, tmp_path: Path):
        script = f"""
import psutil
from labctl.ssh import Connections, ConnectionSettings, relay_workers
relay_workers.workers_for = lambda hosts: 2
made = Connections()
made.expect(200)
node = made.node({sshd.settings()!r})
print(*(child.pid for child in psutil.Process().children()), flush=True)
node.run(["/bin/sh", "-c", "echo $$ > {tmp_path}/pid; exec sleep 600"])
"""
        controller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert controller.stdout
        with controller:
            pids = [int(word) for word in controller.stdout.readline().split()]
            pids.append(int(awaited(tmp_path / "pid")))
            assert all(alive(pid) for pid in pids)
            controller.kill()
        assert len(pids) == 1 + 2
        for pid in pids:
            assert gone([pid], within=5.0)
