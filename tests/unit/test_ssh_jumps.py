"""The way to a host: OpenSSH's options and configuration files, and jumps through real sshd's, whose host keys
are checked one by one."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from labctl.errors import HostKeyMismatch, Unreachable, UsageError
from labctl.ssh import Connections, ConnectionSettings
from labctl.ssh.options import parse
from tests.unit.test_ssh_connections import free_port, keygen, start_sshd


def settings(host="web1", **variables):
    return ConnectionSettings.from_variables(host, variables)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder whose ~/.ssh/config can be written."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    return tmp_path


# options


def test_words_of_a_command_line():
    given = "-J a,b -o 'ConnectTimeout 7' -oServerAliveInterval=9 -p 2200 -i ~/key -l deploy -vA -F /dev/null"
    assert parse(given, "x") == {
        "proxyjump": "a,b",
        "connecttimeout": "7",
        "serveraliveinterval": "9",
        "port": "2200",
        "identityfile": "~/key",
        "user": "deploy",
        "forwardagent": "yes",
        "configfile": "/dev/null",
    }
    assert parse("-o User=a -o User=b", "x") == {"user": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-o Tunnel=yes", "does not have ssh's option 'Tunnel'"),
        ("-L 80:a:80", "does not have ssh's '-L'"),
        ("-o 'x", "no closing quotation"),
        ("-J", "-J needs a value"),
        ("somewhere", "does not have ssh's 'somewhere'"),
    ],
)
def test_what_labctl_cannot_do_is_named(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        settings(ansible_ssh_common_args=text)
    assert caught.value.message.startswith("ansible_ssh_common_args: ")


def test_all_three_variables_of_arguments_count():
    made = settings(
        ansible_ssh_args="-C -o ControlMaster=auto -o ControlPersist=60s",
        ansible_ssh_common_args="-o ProxyJump=me@bastion:2222",
        ansible_ssh_extra_args="-o IdentitiesOnly=yes -o ServerAliveInterval=30 -o ConnectTimeout=3",
    )
    assert (made.compression, made.jumps, made.keys_only) == (True, ("me@bastion:2222",), True)
    assert (made.keepalive, made.connect_timeout) == (30, 3.0)
    assert settings(ansible_connection="local", ansible_ssh_common_args="-o Tunnel=yes").jumps == ()


def test_variables_win_over_arguments_and_those_over_the_configuration(home):
    (home / ".ssh/config").write_text("Host web1\n User filed\n Port 2201\n HostName 10.0.0.9\n")
    made = settings()
    assert (made.user, made.port, made.address) == ("filed", 2201, "10.0.0.9")
    assert settings(ansible_ssh_common_args="-o User=args").user == "args"
    made = settings(ansible_ssh_common_args="-o User=args -p 1", ansible_user="variable", ansible_port=5)
    assert (made.user, made.port) == ("variable", 5)
    assert settings(ansible_host="10.1.1.1").address == "10.1.1.1"
    assert settings(ansible_ssh_common_args="-F none").address == "web1"


def test_the_configuration_file(home):
    key = home / "k"
    key.write_text("")
    (home / ".ssh/more").mkdir()
    (home / ".ssh/more/a.conf").write_text("Host *.lab\n ProxyJump gate\n")
    (home / ".ssh/config").write_text(
        f"Include more/*.conf\nHost w.lab\n IdentityFile {key}\n IdentityFile ~/absent\n HostKeyAlias kept\n"
        " StrictHostKeyChecking accept-new\n UserKnownHostsFile ~/kh ~/kh2\n ForwardAgent yes\n"
        "Host gate\n User jumper\n Port 2022\n HostName 10.0.0.1\n"
    )
    made = settings("w.lab")
    assert (made.key_files, made.key_alias, made.forward_agent) == ((str(key),), "kept", True)
    assert (made.host_key_checking, Path(made.known_hosts).name) == ("accept-new", "kh")
    hop = made.hop()
    assert (hop.user, hop.address, hop.port, hop.jumps) == ("jumper", "10.0.0.1", 2022, ())
    assert hop.hop() is None
    direct = settings("w.lab", ansible_ssh_common_args="-J other")
    assert direct.jumps == ("other",)
    assert settings("w.lab", ansible_ssh_common_args="-o ProxyJump=none").jumps == ()


def test_jumps_that_lead_in_a_circle(home):
    (home / ".ssh/config").write_text("Host *\n ProxyJump gate\n")
    assert settings().hop().jumps == ()  # the gate itself is reached directly
    (home / ".ssh/config").write_text("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    with pytest.raises(UsageError, match="in a circle"):
        hop = settings("a")
        while hop:
            hop = hop.hop()


def test_several_jumps_are_taken_from_the_last(home):
    hop = settings(ansible_ssh_common_args="-J u@a:1,[::1]:2").hop()
    assert (hop.address, hop.port, hop.jumps) == ("::1", 2, ("u@a:1",))
    assert (hop.hop().address, hop.hop().user, hop.hop().port) == ("a", "u", 1)


# real ones


@dataclass
class Way:
    folder: Path
    ports: dict[str, int]

    def known(self, *names: str) -> str:
        """A known_hosts file with the keys of these."""
        path = self.folder / f"known-{'-'.join(names)}"
        lines = [
            f"[127.0.0.1]:{self.ports[n]} {(self.folder / n / 'host_key.pub').read_text()}" for n in names
        ]
        path.write_text("".join(lines))
        return str(path)

    def settings(self, arguments: str, *known: str, **more) -> ConnectionSettings:
        return settings(
            ansible_host="127.0.0.1",
            ansible_port=self.ports["target"],
            ansible_user="root",
            ansible_ssh_private_key_file=str(self.folder / "id"),
            ansible_python_interpreter="/usr/bin/python3",
            labctl_known_hosts=self.known(*known),
            ansible_ssh_common_args=arguments,
            **more,
        )


@pytest.fixture(scope="module")
def way():
    if os.geteuid() != 0:
        pytest.skip("a test sshd that lets users in needs root")
    folder = Path(tempfile.mkdtemp(prefix="labctl-jumps-"))
    folder.chmod(0o755)
    keygen(folder / "id")
    made, processes = Way(folder, {}), []
    for name, forwarding in (("gate", "yes"), ("wall", "no"), ("target", "no")):
        port = made.ports[name] = free_port()
        here = folder / name
        here.mkdir()
        keygen(here / "host_key")
        (here / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host_key\nStrictModes no\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/id.pub\nPermitRootLogin yes\nPidFile none\nAcceptEnv LC_*\n"
            f"PasswordAuthentication no\nAllowTcpForwarding {forwarding}\n"
        )
        processes.append(start_sshd(here, port))
    yield made
    for process in processes:
        process.terminate()
        process.wait(10)
    shutil.rmtree(folder)


@pytest.fixture
def connections(home):
    made = Connections()
    yield made
    made.close()


def ports_of(node) -> list[str]:
    done = node.run(["sh", "-c", "echo $SSH_CONNECTION"])
    return done.stdout.decode().split()


def test_a_jump_reaches_the_host_through_the_gate(way, connections):
    jump = f"-J root@127.0.0.1:{way.ports['gate']}"
    node = connections.node(way.settings(jump, "gate", "target"))
    assert ports_of(node)[3] == str(way.ports["target"])
    log = (way.folder / "gate/sshd.log").read_text()
    assert "Accepted publickey for root" in log
    twice = f"-J root@127.0.0.1:{way.ports['gate']},root@127.0.0.1:{way.ports['gate']}"
    assert connections.node(way.settings(twice, "gate", "target")).run(["true"]).rc == 0


def test_the_key_of_every_hop_is_checked(way, connections):
    jump = f"-o ProxyJump=root@127.0.0.1:{way.ports['gate']}"
    with pytest.raises(HostKeyMismatch, match=f"port {way.ports['gate']} is not known"):
        connections.node(way.settings(jump, "target"))
    with pytest.raises(HostKeyMismatch, match=f"port {way.ports['target']} is not known"):
        connections.node(way.settings(jump, "gate"))


def test_a_gate_that_lets_nothing_through_and_one_that_is_not_there(way, connections):
    with pytest.raises(Unreachable, match=r"lets nothing through to 127.0.0.1"):
        connections.node(way.settings(f"-J root@127.0.0.1:{way.ports['wall']}", "wall", "target"))
    with pytest.raises(Unreachable, match=r"web1 \(through 127.0.0.1\).*refuses the connection"):
        connections.node(way.settings(f"-J root@127.0.0.1:{free_port()}", "target"))


def test_a_gate_of_the_configuration_file(way, connections, home):
    (home / ".ssh/config").write_text(
        f"Host 127.0.0.1\n ProxyJump gate\nHost gate\n HostName 127.0.0.1\n Port {way.ports['gate']}\n User root\n"
        f" ProxyJump none\n IdentityFile {way.folder}/id\n"
    )
    assert connections.node(way.settings("", "gate", "target")).run(["true"]).rc == 0


def test_a_proxy_command(way, connections):
    relay = way.folder / "relay.py"
    relay.write_text(
        "import os, socket, sys, threading\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while data := os.read(0, 65536):\n"
        "        s.sendall(data)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while data := s.recv(65536):\n"
        "    os.write(1, data)\n"
    )
    proxy = f'-o ProxyCommand="{sys.executable} {relay} %h %p"'
    assert connections.node(way.settings(proxy, "target")).run(["true"]).rc == 0
    with pytest.raises(Unreachable, match="ProxyCommand cannot be run"):
        connections.node(way.settings("-o ProxyCommand=/nowhere/relay", "target"))


def test_a_key_kept_under_another_name(way, connections):
    known = way.folder / "alias"
    known.write_text(f"kept {(way.folder / 'target/host_key.pub').read_text()}")
    made = way.settings("-o HostKeyAlias=kept", "target")
    assert connections.node(replace(made, known_hosts=str(known))).run(["true"]).rc == 0
    with pytest.raises(HostKeyMismatch):
        connections.node(made)


def test_an_agent_that_is_forwarded(way, connections, monkeypatch):
    started = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    socket_path, pid = (
        part.split("=", 1)[1] for part in started.replace("\n", ";").split(";") if "=" in part
    )
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket_path)
        subprocess.run(["ssh-add", "-q", way.folder / "id"], check=True)
        node = connections.node(way.settings("-o ForwardAgent=yes", "target"))
        listed = node.run(["ssh-add", "-l"], timeout=20)
        assert b"ED25519" in listed.stdout
        assert connections.node(way.settings("-a", "target")).run(["ssh-add", "-l"]).rc != 0
    finally:
        os.kill(int(pid), 15)


def test_a_configuration_that_says_nothing_of_hosts_needs_no_paramiko(home):
    (home / ".ssh/config").write_text(
        "Include more\n# HostName x\nHost *\n  SendEnv LANG\n  GSSAPIAuthentication yes\n"
    )
    (home / ".ssh/more").write_text("Host web1\n  ServerAliveCountMax 3\n")
    script = (
        "import sys; from labctl.ssh.settings import ConnectionSettings as S; "
        "print(S.from_variables('web1', {}).address, 'paramiko' in sys.modules)"
    )
    for more, expected in (("", "web1 False"), ("Match host web1\n  hostname=10.0.0.7\n", "10.0.0.7 True")):
        with (home / ".ssh/more").open("a") as stream:
            stream.write(more)
        command = [sys.executable, "-P", "-c", script]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == expected
