"""Connections to a real sshd on a free port of the loopback, with throwaway keys: what works, and every way
it can fail. Runs as root: sshd must be able to become the users it lets in."""

import os
import pwd
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko
import pytest

from labctl.errors import (
    AuthenticationFailed,
    BecomeFailed,
    ConnectionLost,
    HostKeyMismatch,
    NoPython,
    Unreachable,
)
from labctl.node import link
from labctl.node.asked import Asked
from labctl.node.client import AgentNode
from labctl.node.duty import DUTY
from labctl.ssh import Become, Connections, ConnectionSettings, eager, transport
from tests.processes import alive, gone
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a test sshd that lets users in needs root")

USER = f"labctltest{os.getpid()}"  # others may test on this machine
PASSWORD = "correct horse"


def keygen(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@dataclass
class Sshd:
    folder: Path
    port: int
    process: subprocess.Popen

    def settings(self, **changes) -> ConnectionSettings:
        made = ConnectionSettings(
            host="web1",
            address="127.0.0.1",
            port=self.port,
            key_files=(str(self.folder / "id"),),
            known_hosts=str(self.folder / "known_hosts"),
            python="/usr/bin/python3",
        )
        return replace(made, **changes)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for_port(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens, 10, f"nothing listens on {port}", every=0.02)


def configured_sshd(folder: Path, port: int, further: str = "") -> subprocess.Popen:
    """An sshd with the keys in the folder, and a file that knows it."""
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPermitRootLogin yes\nPidFile none\n{further}\n"
    )
    return start_sshd(folder, port)


def start_sshd(folder: Path, port: int) -> subprocess.Popen:
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"], stderr=(folder / "sshd.log").open("a")
    )
    wait_for_port(port)
    return process


@pytest.fixture(scope="module")
def sshd():
    folder = Path(tempfile.mkdtemp(prefix="labctl-sshd-"))
    folder.chmod(0o755)  # sshd reads authorized_keys as the user who logs in
    port = free_port()
    for name in ("host_key", "id", "other"):
        keygen(folder / name)
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    further = "AcceptEnv LC_*\nPasswordAuthentication yes\nKbdInteractiveAuthentication no"
    process = configured_sshd(folder, port, further)
    yield Sshd(folder, port, process)
    process.terminate()
    process.wait(10)
    shutil.rmtree(folder)


@pytest.fixture
def connections():
    made = Connections()
    yield made
    made.close()


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A throwaway user that may use sudo with a password, and without one to become `daemon`."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "-m", "-s", "/bin/sh", USER], check=True)
    subprocess.run(["chpasswd"], input=f"{USER}:{PASSWORD}\n", text=True, check=True)
    rules = Path(f"/etc/sudoers.d/{USER}")
    rules.write_text(
        f"Defaults:{USER} timestamp_timeout=0\n{USER} ALL=(root) ALL\n{USER} ALL=(daemon) NOPASSWD: ALL\n"
    )
    rules.chmod(0o440)
    yield USER
    rules.unlink()
    subprocess.run(["userdel", "-r", "-f", USER], check=False, capture_output=True)


class TestNode:
    def test_runs_and_is_kept(self, sshd, connections):
        node = connections.node(sshd.settings())
        assert node.run(["id", "-un"]).text() == "root\n"
        assert connections.node(sshd.settings()) is node
        assert node.host == "web1"

    def test_drop_then_again(self, sshd, connections):
        node = connections.node(sshd.settings())
        connections.drop("web1")
        connections.drop("nobody")
        with pytest.raises(ConnectionLost):
            node.stat("/")
        again = connections.node(sshd.settings())
        assert again is not node
        assert again.stat("/").type == "directory"

    def test_a_lost_connection_is_replaced(self, sshd, connections):
        node = connections.node(sshd.settings())
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(node.run, ["sleep", "600"])
            os.kill(node.hello["pid"], signal.SIGTERM)
            with pytest.raises(ConnectionLost):
                waiting.result(timeout=10)
        assert connections.node(sshd.settings()).run(["true"]).rc == 0

    def test_killed_sshd_child_ends_the_commands(self, sshd, connections, tmp_path):
        node = connections.node(sshd.settings())
        with ThreadPoolExecutor() as pool:
            script = f"echo $PPID > {tmp_path}/agent; echo $$ > {tmp_path}/pid; exec sleep 600"
            waiting = pool.submit(node.run, ["/bin/sh", "-c", script])
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                time.sleep(0.01)
            pid = int((tmp_path / "pid").read_text())
            agent = int((tmp_path / "agent").read_text())
            parent = int(Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()[1])
            assert "sshd" in Path(f"/proc/{parent}/comm").read_text()
            os.kill(parent, signal.SIGKILL)
            with pytest.raises(ConnectionLost):
                waiting.result(timeout=10)
        assert gone([pid], within=5.0)
        assert gone([agent], within=5.0)

    def test_the_last_ones_leave_what_is_idle_to_the_end_of_the_process(self, sshd):
        made = Connections(last=True)
        idle, busy = made.node(sshd.settings()), made.node(sshd.settings(connect_timeout=20))
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(busy.run, ["sleep", "600"])
            while busy.idle:
                time.sleep(0.001)
            made.close()
            with pytest.raises(ConnectionLost):
                waiting.result(timeout=10)
        assert not alive(busy.hello["pid"])
        assert alive(idle.hello["pid"])
        idle.close()
        assert not alive(idle.hello["pid"])

    def test_many_connects_at_once(self, sshd, monkeypatch):
        """More than sshd lets in unauthenticated (MaxStartups 10:30:100): all get through."""
        pools = [Connections() for _ in range(24)]
        try:
            with ThreadPoolExecutor(24) as pool:
                nodes = list(pool.map(lambda one: one.node(sshd.settings(connect_timeout=60)), pools))
            assert len({node.hello["pid"] for node in nodes}) == 24
        finally:
            for one in pools:
                one.close()

    def test_connections_share_no_configuration(self, sshd):
        """fabric writes into it while it is read: two threads that share one find keys missing."""
        one, two = (transport.Session(sshd.settings()) for _ in range(2))
        assert one.client.config is not two.client.config
        one.close()
        two.close()

    def test_ciphers_and_nodelay(self, sshd):
        session = transport.Session(sshd.settings())
        try:
            assert session.transport.local_cipher == "aes128-gcm@openssh.com"
            assert session.transport.host_key_type == "ssh-ed25519"
            assert session.transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            session.close()

    def test_one_transport_for_all(self, sshd, connections, user, monkeypatch):
        made = []
        monkeypatch.setattr(
            transport, "_connect", lambda *given, old=transport._connect: (made.append(1), old(*given))[1]
        )
        settings = sshd.settings()
        connections.node(settings)
        connections.node(settings, Become("daemon"))
        connections.shell(settings, "true")
        assert len(made) == 1

    def test_sixty_four_mebibytes(self, sshd, connections, tmp_path):
        node = connections.node(sshd.settings())
        source = tmp_path / "source"
        source.write_bytes(os.urandom(1 << 20) * 64)
        node.put(source, str(tmp_path / "there"))
        node.get(str(tmp_path / "there"), tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == source.read_bytes()


class TestFailures:
    def test_unknown_host(self, sshd, connections, tmp_path):
        with pytest.raises(HostKeyMismatch, match="is not known: ssh-ed25519 SHA256:") as info:
            connections.node(sshd.settings(known_hosts=str(tmp_path / "none")))
        assert "ssh-keyscan" in info.value.hint
        assert "web1" in str(info.value)
        assert not (tmp_path / "none").exists()

    def test_unknown_host_where_no_host_can_be_known(self, sshd, connections):
        with pytest.raises(HostKeyMismatch, match="is not known") as info:
            connections.node(sshd.settings(known_hosts=os.devnull))
        assert "labctl_known_hosts" in info.value.hint
        assert "ssh-keyscan" not in info.value.hint

    def test_wrong_host_key(self, sshd, connections, tmp_path):
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'other.pub').read_text()}")
        for checking in ("strict", "accept-new"):
            with pytest.raises(HostKeyMismatch, match="is not the one in") as info:
                connections.node(sshd.settings(known_hosts=str(known), host_key_checking=checking))
            assert str(info.value).count("SHA256:") == 2
            assert "ssh-keygen" in info.value.hint
        node = connections.node(sshd.settings(known_hosts=str(known), host_key_checking="off"))
        assert node.run(["true"]).rc == 0

    def test_accept_new_remembers_once(self, sshd, tmp_path):
        known = tmp_path / "ssh" / "known_hosts"
        known.parent.mkdir()
        known.write_text(
            "other.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEfq0jlCR41jsFmbfsIIUQfOHowQdheTiVo4kjPQ60c2"
        )
        pools = [Connections() for _ in range(4)]
        try:
            with ThreadPoolExecutor(4) as pool:
                settings = sshd.settings(known_hosts=str(known), host_key_checking="accept-new")
                list(pool.map(lambda one: one.node(settings), pools))
        finally:
            for one in pools:
                one.close()
        lines = known.read_text().splitlines()
        assert len(lines) == 2
        assert lines[1].split()[:2] == [f"[127.0.0.1]:{sshd.port}", "ssh-ed25519"]
        strict = Connections()
        assert strict.node(sshd.settings(known_hosts=str(known))).run(["true"]).rc == 0
        strict.close()

    def test_wrong_key(self, sshd, connections):
        with pytest.raises(AuthenticationFailed, match="does not let user 'root' in") as info:
            connections.node(sshd.settings(key_files=(str(sshd.folder / "other"),)))
        assert "ansible_user" in info.value.hint

    def test_wrong_password_is_not_shown(self, sshd, connections):
        with pytest.raises(AuthenticationFailed) as info:
            connections.node(sshd.settings(key_files=(), password="tr0ub4dor"))
        assert "tr0ub4dor" not in info.value.report()

    def test_missing_key_file(self, sshd, connections):
        with pytest.raises(AuthenticationFailed, match="key file /no/such/key"):
            connections.node(sshd.settings(key_files=("/no/such/key",)))

    def test_key_with_a_passphrase(self, sshd, connections, tmp_path):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", tmp_path / "locked"], check=True
        )
        with pytest.raises(AuthenticationFailed, match="passphrase"):
            connections.node(sshd.settings(key_files=(str(tmp_path / "locked"),)))

    def test_refused(self, sshd, connections):
        with pytest.raises(Unreachable, match="refuses the connection"):
            connections.node(sshd.settings(port=free_port()))

    def test_name_not_resolved(self, sshd, connections):
        with pytest.raises(Unreachable, match=r"name 'nowhere\.invalid' cannot be resolved"):
            connections.node(sshd.settings(address="nowhere.invalid"))

    def test_silent_port(self, sshd, connections):
        """Something listens and never says a word, as a frozen node does."""
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            pytest.raises(Unreachable, match=r"did not answer within 0\.5 s"),
        ):
            connections.node(sshd.settings(port=server.getsockname()[1], connect_timeout=0.5))

    def test_not_ssh(self, sshd, connections):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer():
                for _ in range(8):
                    try:
                        server.accept()[0].close()
                    except OSError:
                        return

            threading.Thread(target=answer, daemon=True).start()
            with pytest.raises(Unreachable, match="no SSH connection"):
                connections.node(sshd.settings(port=server.getsockname()[1], connect_timeout=0.5))

    def test_no_python(self, sshd, connections):
        with pytest.raises(NoPython, match="host web1 has no '/no/such/python'") as info:
            connections.node(sshd.settings(python="/no/such/python"))
        assert "raw or script" in info.value.hint
        assert "ansible_python_interpreter" in info.value.hint

    def test_python_too_old(self, sshd, connections, tmp_path):
        old = tmp_path / "python3"
        old.write_text('#!/bin/sh\necho "labctl: this Python is too old: 3.6.8" >&2\nexit 1\n')
        old.chmod(0o755)
        with pytest.raises(NoPython, match=r"only Python 3\.6\.8"):
            connections.node(sshd.settings(python=str(old)))

    def test_what_is_no_python(self, sshd, connections):
        with pytest.raises(Unreachable, match="the agent did not start"):
            connections.node(sshd.settings(python="/bin/false"))

    def test_noise_of_a_login_shell(self, sshd, connections, tmp_path):
        """A start-up file that prints does not disturb the agent."""
        noisy = tmp_path / "python3"
        noisy.write_text('#!/bin/sh\necho "Welcome to web1"\nexec /usr/bin/python3 "$@"\n')
        noisy.chmod(0o755)
        assert connections.node(sshd.settings(python=str(noisy))).run(["true"]).rc == 0

    def test_closed_means_closed(self, sshd):
        connections = Connections()
        connections.close()
        with pytest.raises(ConnectionLost):
            connections.node(sshd.settings())


class TestFrozen:
    def test_frozen_sshd(self, sshd, connections):
        """A stopped sshd accepts (its kernel does) and says nothing; after it goes on, all works."""
        settings = sshd.settings(connect_timeout=0.7)
        sshd.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unreachable, match=r"did not answer within 0\.7 s"):
                connections.node(settings)
        finally:
            sshd.process.send_signal(signal.SIGCONT)
        assert connections.node(sshd.settings()).run(["true"]).rc == 0

    def test_frozen_shell_connection(self, sshd, connections, monkeypatch, tmp_path):
        monkeypatch.setattr("labctl.ssh.shell.QUIET", 0.5)
        settings = sshd.settings()
        pid = int(connections.shell(settings, "echo $PPID").text())
        threading.Timer(0.5, os.kill, (pid, signal.SIGSTOP)).start()
        try:
            with pytest.raises(ConnectionLost, match="no sign of life"):
                connections.shell(settings, f"echo $$ > {tmp_path}/pid; exec sleep 600")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        assert connections.shell(settings, "echo again").text() == "again\n"

    @pytest.mark.parametrize("frozen", ["agent", "sshd"])
    def test_frozen_in_the_middle_of_a_transfer(self, sshd, connections, monkeypatch, tmp_path, frozen):
        """All buffers on the way are full and the sender is stuck in them."""
        monkeypatch.setattr(link, "PING_EVERY", 0.2)
        monkeypatch.setattr(link, "SILENCE", 1.0)
        node = connections.node(sshd.settings())
        pid = node.hello["pid"]
        if frozen == "sshd":
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            assert "sshd" in Path(f"/proc/{pid}/comm").read_text()
        os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor() as pool:
                writing = pool.submit(node.write, str(tmp_path / "big"), bytes(64 << 20))
                asking = pool.submit(node.stat, "/")
                for one in (writing, asking):
                    with pytest.raises(ConnectionLost):
                        one.result(timeout=20)
        finally:
            os.kill(pid, signal.SIGKILL)
        assert connections.node(sshd.settings()).run(["true"]).rc == 0

    def test_a_transport_that_died_unnoticed_is_replaced(self, sshd, connections):
        """The far end is frozen, as after a cut cable: the next use waits for an answer, then connects anew."""
        settings = sshd.settings(connect_timeout=4)
        pid = int(connections.shell(settings, "echo $PPID").text())
        os.kill(pid, signal.SIGSTOP)
        try:
            assert connections.node(settings).run(["true"]).rc == 0
        finally:
            os.kill(pid, signal.SIGKILL)


class TestShell:
    def test_output_status_stdin(self, sshd, connections):
        seen = []
        done = connections.shell(
            sshd.settings(),
            "cat; echo err >&2; exit 3",
            stdin=b"in",
            output=lambda *piece: seen.append(piece),
        )
        assert (done.rc, done.stdout, done.stderr) == (3, b"in", b"err\n")
        assert sorted(seen) == [("stderr", "err\n"), ("stdout", "in")]

    def test_needs_no_python(self, sshd, connections):
        assert connections.shell(sshd.settings(python="/no/such/python"), "echo hi").text() == "hi\n"

    def test_timeout_kills(self, sshd, connections, tmp_path):
        done = connections.shell(sshd.settings(), f"echo $$ > {tmp_path}/pid; echo x; sleep 600", timeout=3)
        assert done.timed_out
        assert done.stdout == b"x\n"
        assert gone([int((tmp_path / "pid").read_text())], within=5.0)

    def test_a_left_daemon_does_not_hold_it(self, sshd, connections, tmp_path):
        done = connections.shell(sshd.settings(), f"sleep 600 & echo $! > {tmp_path}/pid; echo done")
        pid = int((tmp_path / "pid").read_text())
        assert done.stdout == b"done\n"
        assert done.rc == 0
        assert alive(pid)
        os.kill(pid, signal.SIGKILL)

    def test_large_streams(self, sshd, connections):
        data = os.urandom(1 << 20) * 5
        assert connections.shell(sshd.settings(), "cat", stdin=data).stdout == data

    def test_local(self, connections, tmp_path):
        here = ConnectionSettings("localhost", "localhost", connection="local")
        done = connections.shell(here, "cat; exit 4", stdin=b"in")
        assert (done.rc, done.stdout) == (4, b"in")
        done = connections.shell(here, f"echo $$ > {tmp_path}/pid; sleep 600", timeout=0.3)
        assert done.timed_out
        assert gone([int((tmp_path / "pid").read_text())], within=2.0)


class TestBecome:
    def user_settings(self, sshd):
        return sshd.settings(user=USER)

    def test_without_a_password(self, sshd, connections, user):
        settings = self.user_settings(sshd)
        assert connections.node(settings, Become("daemon")).run(["id", "-un"]).text() == "daemon\n"
        assert connections.node(settings).run(["id", "-un"]).text() == f"{USER}\n"
        assert connections.shell(settings, "id -un", become=Become("daemon")).text() == "daemon\n"

    def test_with_a_password(self, sshd, connections, user):
        settings = self.user_settings(sshd)
        become = Become("root", password=PASSWORD)
        node = connections.node(settings, become)
        assert node.run(["/bin/sh", "-c", "id -un; echo $HOME"]).text() == "root\n/root\n"
        commands = node.run(["/bin/sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"]).text()
        assert PASSWORD not in commands
        done = connections.shell(settings, "id -un; cat", become=become, stdin=b"in")
        assert (done.stdout, done.stderr) == (b"root\nin", b"")

    def test_a_password_that_is_not_asked_for(self, sshd, connections, user):
        node = connections.node(self.user_settings(sshd), Become("daemon", password="unused"))
        assert node.run(["id", "-un"]).text() == "daemon\n"

    def test_password_needed(self, sshd, connections, user):
        with pytest.raises(BecomeFailed, match="sudo needs a password to become 'root'") as info:
            connections.node(self.user_settings(sshd), Become("root"))
        assert "ansible_become_password" in info.value.hint

    def test_wrong_password(self, sshd, connections, user):
        become = Become("root", password="tr0ub4dor")
        settings = self.user_settings(sshd)
        for attempt in (
            connections.node,
            lambda *given: connections.shell(given[0], "true", become=given[1]),
        ):
            with pytest.raises(BecomeFailed, match="does not accept the become password") as info:
                attempt(settings, become)
            assert "tr0ub4dor" not in info.value.report()

    def test_no_such_user(self, sshd, connections, user):
        with pytest.raises(BecomeFailed, match=r"cannot become 'nobodythere'.*unknown user"):
            connections.node(sshd.settings(), Become("nobodythere"))

    def test_su(self, sshd, connections, user):
        node = connections.node(sshd.settings(), Become(USER, method="su"))
        assert node.run(["id", "-un"]).text() == f"{USER}\n"

    def test_su_with_a_password(self, sshd, connections, user):
        settings = replace(self.user_settings(sshd))
        node = connections.node(settings, Become(USER, method="su", password=PASSWORD))
        assert node.run(["id", "-un"]).text() == f"{USER}\n"

    def test_commands_of_another_user_end_with_the_connection(self, sshd, connections, user, tmp_path):
        node = connections.node(self.user_settings(sshd), Become("root", password=PASSWORD))
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(node.run, ["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"])
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                time.sleep(0.01)
            connections.close()
            with pytest.raises(ConnectionLost):
                waiting.result(timeout=10)
        assert gone([int((tmp_path / "pid").read_text())], within=5.0)

    def test_local(self, connections, user):
        here = ConnectionSettings("localhost", "localhost", connection="local", python="/usr/bin/python3")
        node = connections.node(here, Become(USER))
        assert isinstance(node, AgentNode)
        assert node.run(["id", "-un"]).text() == f"{USER}\n"
        assert connections.node(here).run(["id", "-un"]).text() == "root\n"


def test_paramiko_is_loaded_on_the_first_connect_only():
    script = (
        "import sys, labctl.ssh; print(any(m in sys.modules for m in ('paramiko', 'fabric', 'cryptography')))"
    )
    done = subprocess.run([os.sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert paramiko.__version__


@pytest.mark.parametrize(("kind", "asked_first"), [("ed25519", True), ("rsa", False)])
def test_authentication_waits_for_no_answer_but_its_own(sshd, monkeypatch, kind, asked_first):
    """An RSA key's algorithm is chosen by what the server says it takes."""
    key = sshd.folder / f"eager_{kind}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
    with (sshd.folder / "authorized_keys").open("a") as stream:
        stream.write(key.with_suffix(".pub").read_text())
    seen = []
    request, requested = paramiko.common.MSG_USERAUTH_REQUEST, threading.Event()
    send, accept = eager.Transport._send_message, eager._Eager._parse_service_accept

    def sent(self, message):
        seen.append(message.asbytes()[0])
        if seen[-1] == request:
            requested.set()
        send(self, message)

    def accepted(self, message):
        if asked_first:  # the answer of a server far away
            requested.wait(10)
        seen.append("accepted")
        accept(self, message)

    monkeypatch.setattr(eager.Transport, "_send_message", sent)
    monkeypatch.setattr(eager._Eager, "_parse_service_accept", accepted)
    transport.Session(sshd.settings(key_files=(str(key),))).close()
    assert seen.count(request) == seen.count("accepted") == 1
    assert (seen.index(request) < seen.index("accepted")) is asked_first


def test_a_prepared_host_is_connected_to_once(sshd, connections, monkeypatch):
    opened = []
    session = transport.Session
    monkeypatch.setattr(transport, "Session", lambda *given: opened.append(given) or session(*given))
    connections.prepare(sshd.settings())
    assert connections.node(sshd.settings()).run(["/bin/echo", "here"]).stdout == b"here\n"
    assert len(opened) == 1


def test_what_kept_a_host_from_being_prepared_is_raised_once(sshd, connections, monkeypatch):
    opened = []
    session = transport.Session
    monkeypatch.setattr(transport, "Session", lambda *given: opened.append(given) or session(*given))
    nobody = sshd.settings(port=free_port())
    connections.prepare(nobody)
    for attempts in (1, 2):
        with pytest.raises(Unreachable, match="refuses the connection"):
            connections.node(nobody)
        assert len(opened) == attempts


class TestWhoReads:
    """An agent's answers are read by whoever waits for them, while nothing else goes over its connection."""

    @pytest.fixture
    def node(self, sshd):
        connections = Connections()
        yield connections.node(sshd.settings(), None)
        connections.close()

    @staticmethod
    def packets(node):
        return node._link._pipe._channel.transport.packetizer

    def stands_aside(self, node) -> bool:
        node.run(["true"])  # the first is read by the thread that has waited for it since it listens
        until = time.monotonic() + 10
        while not self.packets(node)._aside and time.monotonic() < until:
            time.sleep(0.005)
        return self.packets(node)._aside

    def test_whoever_has_claimed_it_does(self, node):
        assert self.stands_aside(node)
        seen, heard = [], queue.SimpleQueue()

        def hear():
            seen.append(threading.current_thread())
            heard.put(None)
            DUTY.heard()

        def ask():
            eventually(lambda: DUTY._asleep, 10, "nobody reads", every=0.001)  # before, another may stand in
            return node.ask(Asked(["echo", "x"]), heard=hear)

        assert DUTY.claim()
        try:
            with ThreadPoolExecutor(1) as pool:
                for _ in range(20):
                    asked = pool.submit(ask)
                    DUTY.read_for(heard, 10)
                    heard.get_nowait()
                    asked.result().wait()
                    assert asked.result().completed().stdout == b"x\n"
        finally:
            DUTY.release()
        assert set(seen) == {threading.current_thread()}

    def test_much_both_ways(self, node):
        """More than a channel's window, which is made larger by the connection's own thread."""
        assert self.stands_aside(node)
        data = os.urandom(6 << 20)
        assert node.run(["cat"], stdin=data, timeout=60).stdout == data

    def test_another_channel_is_read_by_the_connections_own_thread(self, node, sshd):
        assert self.stands_aside(node)
        transport = node._link._pipe._channel.transport
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(node.run, ["echo", str(n)]) for n in range(20)]
            for _ in range(5):
                channel = transport.open_session(timeout=10)
                channel.exec_command("head -c 3000000 /dev/zero; sleep 0.05")
                assert sum(map(len, iter(lambda channel=channel: channel.recv(65536), b""))) == 3_000_000
                channel.close()
        assert [one.result().stdout for one in answers] == [b"%d\n" % n for n in range(20)]
        del channel
        assert self.stands_aside(node)

    def test_new_keys(self, node):
        assert self.stands_aside(node)
        for _ in range(3):
            node._link._pipe._channel.transport.renegotiate_keys()
            assert node.run(["echo", "x"]).stdout == b"x\n"
        assert self.stands_aside(node)

    def test_new_keys_when_it_is_time(self, node):
        assert self.stands_aside(node)
        packets = self.packets(node)
        key = packets._in
        packets._trigger_rekey()
        until = time.monotonic() + 10
        while packets._in is key and time.monotonic() < until:
            time.sleep(0.01)
        assert packets._in is not key
        assert node.run(["echo", "x"]).stdout == b"x\n"

    def test_its_end_is_heard_of(self, node):
        assert self.stands_aside(node)
        began = time.monotonic()
        with pytest.raises(ConnectionLost):
            node.run(["sh", "-c", "kill -KILL $PPID; sleep 10"])
        assert time.monotonic() - began < 5
        assert not node.alive

    def test_closing_waits_for_nothing(self, node):
        assert self.stands_aside(node)
        began = time.monotonic()
        node._link._pipe._channel.transport.close()
        assert time.monotonic() - began < 0.9
        with pytest.raises(ConnectionLost):
            node.run(["true"])
