"""Hosts to connect to: OpenSSH's own sshd on many addresses of this machine, each with a home of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LISTENERS = 16  # sshd takes no more addresses than this for one process
_CONFIG = """\
{listen}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/key.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
PermitUserRC no
PermitUserEnvironment no
PrintMotd no
PrintLastLog no
X11Forwarding no
LogLevel ERROR
MaxStartups 1000
MaxSessions 1000
LoginGraceTime 120
Subsystem sftp internal-sftp
{homes}"""
_HOME = """\
Match LocalAddress {address}
    SetEnv HOME={home}
"""


class CannotBenchmark(Exception):
    """This machine cannot do it; one sentence that says why."""


@dataclass(frozen=True)
class Host:
    """`home` holds no start-up file; `name` is the inventory's."""

    name: str
    address: str
    port: int
    home: Path


@dataclass(frozen=True)
class Fleet:
    """`key` logs `user` in on every host; `known_hosts` pins their keys."""

    hosts: tuple[Host, ...]
    user: str
    key: Path
    known_hosts: Path

    def first(self, count: int) -> tuple[Host, ...]:
        return self.hosts[:count]


def apt_install(package: str, program: str) -> None:
    """Raises CannotBenchmark where a program is missing and its package cannot be installed."""
    if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"):
        return
    script = '. "$0/bin/environment"; apt_install "$1"'
    if subprocess.run(["bash", "-c", script, ROOT, package], check=False).returncode:
        raise CannotBenchmark(f"the program {program} is missing and its package {package} was not installed")


def _free_port(addresses: Sequence[str]) -> int:
    """A port that is free on the first of the addresses."""
    with socket.socket() as probe:
        probe.bind((addresses[0], 0))
        return int(probe.getsockname()[1])


def _keys(folder: Path) -> None:
    for name in ("host_key", "key"):
        if not (folder / name).exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "benchmark", "-f", folder / name],
                check=True,
            )


def _privilege_separation(stack: ExitStack) -> None:
    """sshd wants /run/sshd when root; a machine whose sshd never ran has none."""
    folder = Path("/run/sshd")
    if os.geteuid() == 0 and not folder.exists():
        folder.mkdir(mode=0o755)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(host: Host, within: Sequence[str]) -> bool:
    """Whether an SSH server speaks at the host; `within` are words that enter its network namespace."""
    script = f"exec 3<>/dev/tcp/{host.address}/{host.port} && read -r -t 5 -u 3 line && [[ $line == SSH-* ]]"
    done = subprocess.run([*within, "bash", "-c", script], capture_output=True, check=False)
    return done.returncode == 0


def start(
    stack: ExitStack, folder: Path, addresses: Sequence[str], prefix: str = "h", within: Sequence[str] = ()
) -> Fleet:
    """One host for each address, until `stack` closes or this process ends. `within` are words that start a program
    in the network namespace the addresses belong to. Raises CannotBenchmark."""
    apt_install("openssh-server", "sshd")
    sshd = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin")
    if not sshd:
        raise CannotBenchmark("sshd is not among the system's programs")
    folder.mkdir(parents=True, exist_ok=True)
    _keys(folder)
    _privilege_separation(stack)
    port = 22022 if within else _free_port(addresses)
    hosts = []
    for number, address in enumerate(addresses, 1):
        home = folder / "homes" / f"{prefix}{number:03}"
        home.mkdir(parents=True, exist_ok=True)
        hosts.append(Host(home.name, address, port, home))
    for begin in range(0, len(hosts), _LISTENERS):
        part = hosts[begin : begin + _LISTENERS]
        config = folder / f"sshd_config.{prefix}{begin}"
        config.write_text(
            _CONFIG.format(
                listen="\n".join(f"ListenAddress {host.address}:{port}" for host in part),
                folder=folder,
                homes="".join(_HOME.format(address=host.address, home=host.home) for host in part),
            )
        )
        log = folder / f"sshd.{prefix}{begin}.log"
        process = subprocess.Popen(
            [*within, "setpriv", "--pdeathsig", "TERM", sshd, "-D", "-f", config, "-E", log],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        stack.callback(stop, process)
        give_up = time.monotonic() + 10
        while not _answers(part[-1], within):
            if process.poll() is not None or time.monotonic() > give_up:
                said = log.read_text().strip().splitlines() if log.exists() else []
                raise CannotBenchmark(f"sshd did not start: {said[-1] if said else 'it said nothing'}")
            time.sleep(0.02)
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    known_hosts = folder / f"known_hosts.{prefix}"
    known_hosts.write_text("".join(f"[{host.address}]:{port} {key}\n" for host in hosts))
    return Fleet(tuple(hosts), pwd.getpwuid(os.geteuid()).pw_name, folder / "key", known_hosts)


def loopback(count: int) -> list[str]:
    """Addresses of this machine that nobody else uses for anything: 127.77.x.y."""
    return [f"127.77.{number // 250}.{number % 250 + 1}" for number in range(count)]
