"""A connection's first command, which is asked for in one flight with what goes before it: with a real sshd."""

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from paramiko.common import (
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_REQUEST,
    MSG_SERVICE_REQUEST,
    MSG_USERAUTH_REQUEST,
)

from labctl.errors import AuthenticationFailed, NoPython, Unreachable
from labctl.ssh import Connections, eager, first
from labctl.ssh.shared import Shared
from tests.unit.test_ssh_connections import Sshd, configured_sshd, free_port, keygen

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a test sshd that lets users in needs root")

ASKED = [MSG_CHANNEL_OPEN, MSG_CHANNEL_REQUEST]
LET_IN, OPENED = "_parse_userauth_success", "_parse_channel_open_success"


@pytest.fixture
def started():
    """Starts an sshd with further lines in its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="labctl-sshd-"))
    for name in ("host_key", "id", "other"):
        keygen(folder / name)
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    processes = []

    def start(further: str = "") -> Sshd:
        port = free_port()
        processes.append(configured_sshd(folder, port, further))
        return Sshd(folder, port, processes[-1])

    yield start
    for process in processes:
        process.terminate()
        process.wait(10)
    shutil.rmtree(folder)


@pytest.fixture
def connections():
    made = Connections()
    yield made
    made.close()


@pytest.fixture
def seen(monkeypatch):
    """What goes to a server far away, by its number, and what comes from there: later than what does not wait for it."""
    seen, asked, send = [], threading.Event(), eager.Transport._send_message

    def sending(transport, message):
        number = message.asbytes()[0]
        if number in (MSG_SERVICE_REQUEST, MSG_USERAUTH_REQUEST, *ASKED):
            seen.append(number)
        if number == MSG_CHANNEL_REQUEST:
            asked.set()
        send(transport, message)

    def late(kind, name):
        parse = getattr(kind, name)

        def come(self, message):
            asked.wait(0.5)
            seen.append(name)
            parse(self, message)

        monkeypatch.setattr(kind, name, come)

    monkeypatch.setattr(eager.Transport, "_send_message", sending)
    late(eager._Eager, LET_IN)
    late(eager.Transport, OPENED)
    return seen


def from_authentication(seen):
    return seen[seen.index(MSG_USERAUTH_REQUEST) :][:5]


def test_it_goes_with_authentication(started, connections, seen):
    node = connections.node(started().settings())
    assert node.run(["echo", "here"]).text() == "here\n"
    assert from_authentication(seen) == [MSG_USERAUTH_REQUEST, *ASKED, LET_IN, OPENED]
    assert seen.count(MSG_CHANNEL_OPEN) == seen.count(MSG_CHANNEL_REQUEST) == 1


def test_it_is_written_with_what_goes_before_it(started, connections, seen, monkeypatch):
    server, write_all = started(), Shared.write_all

    def write(packets, data):
        if packets._sock.getpeername()[1] == server.port:
            seen.append("written")
        write_all(packets, data)

    monkeypatch.setattr(Shared, "write_all", write)
    connections.node(server.settings())
    asked = seen.index(MSG_CHANNEL_REQUEST)
    assert seen[asked - 3 : asked + 2] == [MSG_SERVICE_REQUEST, MSG_USERAUTH_REQUEST, *ASKED, "written"]


def test_where_the_key_has_to_wait_it_goes_with_the_opening_of_its_session(started, connections, seen):
    server = started()
    key = server.folder / "rsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", key], check=True)
    (server.folder / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    node = connections.node(server.settings(key_files=(str(key),)))
    assert node.run(["echo", "here"]).text() == "here\n"
    assert from_authentication(seen) == [MSG_USERAUTH_REQUEST, LET_IN, *ASKED, OPENED]


def test_a_server_that_is_not_known_is_asked_step_by_step(started, connections, seen, monkeypatch):
    monkeypatch.setattr(first, "possible", lambda _transport: False)
    node = connections.node(started().settings())
    assert node.run(["echo", "here"]).text() == "here\n"
    assert from_authentication(seen) == [
        MSG_USERAUTH_REQUEST,
        LET_IN,
        MSG_CHANNEL_OPEN,
        OPENED,
        MSG_CHANNEL_REQUEST,
    ]


@pytest.mark.parametrize(
    ("version", "channels", "known"),
    [
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", {}, True),
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3", {0: True}, False),
        ("SSH-2.0-dropbear_2022.83", {}, False),
        ("SSH-2.0-Go", {}, False),
    ],
)
def test_it_takes_a_server_whose_numbers_are_known(version, channels, known):
    assert first.possible(SimpleNamespace(remote_version=version, channels_seen=channels)) is known


def test_what_is_not_as_expected_ends_the_connection(started, connections, monkeypatch):
    monkeypatch.setattr(first, "_THERE", 7)
    with pytest.raises(Unreachable, match="sshd starts no command"):
        connections.node(started().settings())


def test_a_key_that_is_refused_is_followed_by_the_next(started, connections, seen):
    server = started()
    keys = (str(server.folder / "other"), str(server.folder / "id"))
    node = connections.node(server.settings(key_files=keys))
    assert node.run(["echo", "here"]).text() == "here\n"
    assert (seen.count(MSG_CHANNEL_OPEN), seen.count(OPENED)) == (2, 1)


def test_a_session_that_is_not_opened(started, connections):
    with pytest.raises(Unreachable, match="sshd refuses another channel"):
        connections.node(started("MaxSessions 0").settings())


def test_a_server_that_has_hung_up_before_anyone_looks(started, connections, monkeypatch):
    let_in = eager.Transport.let_in.fget

    def late(transport):
        transport.join(20)
        return let_in(transport)

    monkeypatch.setattr(eager.Transport, "let_in", property(late))
    with pytest.raises(Unreachable, match="sshd refuses another channel"):
        connections.node(started("MaxSessions 0").settings())


def test_a_command_that_has_ended_before_anyone_looks(started, connections, monkeypatch):
    ended, wait = threading.Event(), first.First.wait
    unlink = eager.Transport._unlink_channel

    def unlinked(transport, number):
        unlink(transport, number)
        ended.set()

    def late(begun):
        assert ended.wait(20)
        wait(begun)

    monkeypatch.setattr(eager.Transport, "_unlink_channel", unlinked)
    monkeypatch.setattr(first.First, "wait", late)
    with pytest.raises(NoPython, match="host web1 has no '/no/such/python'"):
        connections.node(started().settings(python="/no/such/python"))


def test_one_key_is_not_enough(started, connections):
    with pytest.raises(AuthenticationFailed, match="does not let user 'root' in"):
        connections.node(started("AuthenticationMethods publickey,publickey").settings())


def test_a_server_that_hangs_up_after_a_wrong_key(started, connections):
    server = started("MaxAuthTries 1")
    keys = (str(server.folder / "other"), str(server.folder / "id"))
    with pytest.raises(AuthenticationFailed, match="does not let user 'root' in"):
        connections.node(server.settings(key_files=keys))


def test_later_commands_have_sessions_of_their_own(started, connections):
    settings = started().settings()
    assert connections.shell(settings, "echo one").text() == "one\n"
    assert connections.shell(settings, "echo two", stdin=b"").text() == "two\n"
    assert connections.node(settings).run(["echo", "three"]).text() == "three\n"
