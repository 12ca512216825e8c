"""The tools that are compared: how each is installed, and how it is called for a playbook."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet import ROOT, CannotBenchmark, Fleet, Host
from benchmarks.measure import Command
from labctl.paths import cache_dir

NODE_PYTHON = "/usr/bin/python3"
MOST_FORKS = 50
_PATIENCE = 120  # seconds to connect, so that fifty at once on a slow machine are no failure
_LOCK = Path(__file__).with_name("requirements.lock")
_VERSIONS = """\
import importlib.metadata, json, sys
names = ("ansible-core", "mitogen", "pyinfra", "paramiko", "cryptography")
print(json.dumps({name: importlib.metadata.version(name) for name in names}))
"""


def _install(folder: Path) -> None:
    building = folder.with_name(f"{folder.name}.{os.getpid()}")
    python = building / "bin/python"
    if shutil.which("uv"):
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, building], check=True)
        pip = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    else:
        subprocess.run([sys.executable, "-m", "venv", building], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    done = subprocess.run(
        [*pip, "--require-hashes", "-r", _LOCK], check=False, capture_output=True, text=True
    )
    if done.returncode:
        shutil.rmtree(building, ignore_errors=True)
        said = done.stderr.strip().splitlines()
        raise CannotBenchmark(f"the peers could not be installed: {said[-1] if said else 'pip failed'}")
    (folder.parent / f"{folder.name}.path").write_text(str(building))


@dataclass(frozen=True)
class Peers:
    """The environment of ansible-core, mitogen and pyinfra; `versions` by package, labctl's and sshd's too."""

    folder: Path
    versions: dict[str, str]

    def program(self, name: str) -> Path:
        return self.folder / "bin" / name


def install(stack: ExitStack) -> Peers:
    """Made once for each lock file and Python; kept among labctl's rebuildable things. Raises CannotBenchmark."""
    if os.geteuid() == 0 and not Path("/dev/shm").exists():  # ansible-core's processes need it
        Path("/dev/shm").mkdir(mode=0o1777)
        stack.callback(shutil.rmtree, "/dev/shm", ignore_errors=True)
    key = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_dir() / f"benchmarks-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    marker = folder.parent / f"{folder.name}.path"
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or not Path(marker.read_text(), "bin/ansible-playbook").exists():
            print("installing ansible-core, mitogen and pyinfra (once)", file=sys.stderr, flush=True)
            _install(folder)
    made = Path(marker.read_text())
    said = subprocess.run([made / "bin/python", "-c", _VERSIONS], check=True, capture_output=True, text=True)
    versions = {"labctl": _labctl_version(), **json.loads(said.stdout)}
    versions["openssh"] = subprocess.run(
        ["ssh", "-V"], check=True, capture_output=True, text=True
    ).stderr.split(",")[0]
    versions["python"] = sys.version.split()[0]
    return Peers(made, versions)


def _labctl_version() -> str:
    import labctl

    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(describe, capture_output=True, text=True, check=False)
    return f"{labctl.__version__} {done.stdout.strip()}".strip()


def forks(hosts: int) -> int:
    """How many hosts a tool may work on at once: the same for all that ask."""
    return max(1, min(hosts, MOST_FORKS))


def write_inventories(folder: Path, fleet: Fleet, hosts: Sequence[Host]) -> None:
    """`inventory` for labctl and Ansible, `inventory.py` and `config.py` for pyinfra, `hosts.json` for the floors and scp."""
    common = {
        "ansible_user": fleet.user,
        "ansible_ssh_private_key_file": fleet.key,
        "ansible_python_interpreter": NODE_PYTHON,
        "ansible_ssh_common_args": f"'-o UserKnownHostsFile={fleet.known_hosts} -o StrictHostKeyChecking=yes'",
        "work": folder / "work",
    }
    lines = [f"{host.name} ansible_host={host.address} ansible_port={host.port}" for host in hosts]
    variables = [f"{name}={value}" for name, value in common.items()]
    (folder / "inventory").write_text("\n".join([*lines, "", "[all:vars]", *variables, ""]))
    data = {
        "ssh_user": fleet.user,
        "ssh_key": str(fleet.key),
        "ssh_known_hosts_file": str(fleet.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "ssh_allow_agent": False,
        "ssh_paramiko_connect_kwargs": {"banner_timeout": _PATIENCE, "auth_timeout": _PATIENCE},
        "work": str(folder / "work"),
    }
    named = [(host.name, {"ssh_hostname": host.address, "ssh_port": host.port, **data}) for host in hosts]
    (folder / "inventory.py").write_text(f"hosts = {named!r}\n")
    (folder / "config.py").write_text(f"CONNECT_TIMEOUT = {_PATIENCE}\n")
    plain = {
        "user": fleet.user,
        "key": str(fleet.key),
        "known_hosts": str(fleet.known_hosts),
        "hosts": [[host.name, host.address, host.port] for host in hosts],
    }
    (folder / "hosts.json").write_text(json.dumps(plain))


def labctl(playbook: str, hosts: int) -> Command:
    return Command(
        [
            ROOT / "bin/labctl",
            "run",
            playbook,
            "-i",
            "inventory",
            "-f",
            str(forks(hosts)),
            "-T",
            str(_PATIENCE),
        ]
    )


def ansible(peers: Peers, folder: Path, playbook: str, hosts: int) -> Command:
    """Pipelining is on; ControlPersist is as Ansible has it."""
    environment = {
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_TIMEOUT": str(_PATIENCE),
        "ANSIBLE_FORKS": str(forks(hosts)),
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    return Command([peers.program("ansible-playbook"), "-i", "inventory", playbook], environment)


def mitogen(peers: Peers, folder: Path, playbook: str, hosts: int) -> Command:
    found = sorted(peers.folder.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy"))
    plain = ansible(peers, folder, playbook, hosts)
    more = {"ANSIBLE_STRATEGY_PLUGINS": str(found[0]), "ANSIBLE_STRATEGY": "mitogen_linear"}
    return Command(plain.argv, {**plain.environment, **more})


def pyinfra(peers: Peers, deploy: str) -> Command:
    return Command([peers.program("pyinfra"), "-y", "inventory.py", deploy])


def floor(kind: str, commands: str) -> Command:
    """`kind` exec or shell: see floors.py; `commands` is a file of commands, a line each."""
    return Command([sys.executable, "-P", "-m", "benchmarks.floors", kind, "hosts.json", commands])
