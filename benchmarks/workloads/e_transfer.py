"""(e) 64 MiB of random bytes to 10 hosts, and back from each."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from benchmarks.measure import Command, Measured
from benchmarks.workload import Rounds, Scene, Workload, WrongWork

SIZE = 64 << 20
_PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - copy: {src: blob, dest: "{{ work }}/{{ inventory_hostname }}/blob", mode: "0644"}
    - fetch: {src: "{{ work }}/{{ inventory_hostname }}/blob", dest: "{{ playbook_dir }}/back/{{ inventory_hostname }}", flat: true}
"""
_DEPLOY = """\
from pyinfra import host
from pyinfra.operations import files

there = f"{host.data.work}/{host.name}/blob"
files.put(name="to the host", src="blob", dest=there, mode="644")
files.get(name="and back", src=there, dest=f"back/{host.name}", create_local_dir=True, force=True)
"""
_SCP = """\
import json, subprocess, sys
given = json.load(open("hosts.json"))
options = ["-q", "-B", "-i", given["key"], "-o", "UserKnownHostsFile=" + given["known_hosts"], "-o", "StrictHostKeyChecking=yes"]
def together(pairs):
    running = [subprocess.Popen(["scp", *options, "-P", str(port), *words]) for port, words in pairs]
    return sum(each.wait() != 0 for each in running)
def there(name, address):
    return "%s@%s:%s/work/%s/blob" % (given["user"], address, sys.argv[1], name)
failed = together([(port, ["blob", there(name, address)]) for name, address, port in given["hosts"]])
failed += together([(port, [there(name, address), "back/" + name]) for name, address, port in given["hosts"]])
sys.exit(failed)
"""


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Transfer(Workload):
    name = "e"
    hosts = 10
    title = f"{SIZE >> 20} MiB to 10 hosts and back"
    tools = ("labctl", "ansible", "mitogen", "pyinfra", "scp")
    most_rounds = Rounds(ansible=3, mitogen=3, pyinfra=3)

    def write(self, folder: Path) -> None:
        with (folder / "blob").open("wb") as stream:
            for _ in range(SIZE >> 20):
                stream.write(os.urandom(1 << 20))
        (folder / "play.yml").write_text(_PLAY)
        (folder / "deploy.py").write_text(_DEPLOY)
        (folder / "scp.py").write_text(_SCP)

    def command(self, scene: Scene, tool: str) -> Command:
        if tool == "scp":
            return Command([sys.executable, "-I", "-S", "scp.py", scene.folder])
        return super().command(scene, tool)

    def reset(self, scene: Scene) -> None:
        super().reset(scene)
        shutil.rmtree(scene.folder / "back", ignore_errors=True)
        (scene.folder / "back").mkdir()
        os.sync()  # nobody pays for what the one before wrote

    def check(self, scene: Scene, tool: str, measured: Measured) -> None:  # noqa: ARG002
        wanted = _digest(scene.folder / "blob")
        for host in scene.hosts:
            for path in (scene.work / host.name / "blob", scene.folder / "back" / host.name):
                if not path.is_file() or _digest(path) != wanted:
                    raise WrongWork(
                        f"{path.relative_to(scene.folder)} is not the {SIZE >> 20} MiB that were sent"
                    )


WORKLOADS = [Transfer()]
