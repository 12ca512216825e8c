"""Secrets planted in a vault, a file of extra variables, a become password and a result under no_log are
nowhere to be found: not in what labctl prints and writes, nor in the processes, files and logs of either side."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.vault import encrypt

ROOT = Path(__file__).resolve().parents[2]
USER = "secretkeeper"

# Runs on a node while the playbook does: whatever /proc shows of any process, but of this one.
_SAMPLER = r"""
import os, sys, time
secrets, until, own = [s.encode() for s in sys.argv[2].split(",")], time.time() + float(sys.argv[1]), os.getpid()
secrets, seen, rounds = [bytes(reversed(s)) for s in secrets], set(), 0
meant = int(sys.argv[4])  # the secret that a command is given in its environment on purpose
print("started", flush=True)
while time.time() < until and not os.path.exists(sys.argv[3]):
    rounds += 1
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) == own:
            continue
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as stream:
                    data = stream.read()
            except OSError:
                continue
            for n, secret in enumerate(secrets):
                if n == meant and name == "environ":
                    continue
                if secret in data and (n, data[:200]) not in seen:
                    seen.add((n, data[:200]))
                    print("FOUND", n, name, data[:300], flush=True)
    time.sleep(0.01)
print("rounds", rounds, flush=True)
"""


class Sampler:
    """Looks at /proc of this machine (None) or, over ssh, of a node, until `stop`. The secrets are given to it
    reversed, so that it does not find itself or the ssh that started it."""

    def __init__(self, planted: dict[str, str], stop_file: str, prefix: list[str]) -> None:
        self.prefix, self.stop_file = prefix, stop_file
        words = ",".join(secret[::-1] for secret in planted.values())
        meant = str(list(planted).index("environment"))
        command = ["python3", "-", "300", words, stop_file, meant]
        self.process = subprocess.Popen(
            [*prefix, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        self.process.stdin.write(_SAMPLER)
        self.process.stdin.close()
        self.lines: list[str] = []
        self.begun = threading.Event()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()
        assert self.begun.wait(60), "the sampler does not start"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            self.begun.set()

    def stop(self) -> list[str]:
        subprocess.run([*self.prefix, "touch", self.stop_file], check=True)
        self.thread.join(60)
        self.process.wait(60)
        subprocess.run([*self.prefix, "rm", "-f", self.stop_file], check=True)
        assert self.lines[-1].startswith("rounds "), self.lines
        assert int(self.lines[-1].split()[1]) > 10, self.lines
        return [line for line in self.lines if line.startswith("FOUND")]


@pytest.fixture(scope="module")
def planted() -> dict[str, str]:
    kinds = ("vault", "whole_file", "extra", "become", "no_log", "environment", "vault_password")
    return {kind: f"s3cret-{kind.replace('_', '-')}-{secrets.token_hex(6)}" for kind in kinds}


@pytest.fixture(scope="module")
def ssh(lab) -> list[str]:
    to = lab.connection("worker1")
    return [
        *(
            "ssh",
            "-i",
            to["ansible_ssh_private_key_file"],
            "-o",
            f"UserKnownHostsFile={to['labctl_known_hosts']}",
        ),
        *("-o", "BatchMode=yes", f"root@{to['ansible_host']}"),
    ]


@pytest.fixture(scope="module")
def keeper(node, planted) -> Iterator[None]:
    """A user of the node who may become root with a password only, and a log of what sudo does."""
    on = node("worker1")
    on.run(["useradd", "-m", "-s", "/bin/sh", USER])
    on.run(["chpasswd"], stdin=f"{USER}:{planted['become']}\n".encode())
    on.run(["install", "-d", "-m", "0700", "-o", USER, f"/home/{USER}/.ssh"])
    on.run(["cp", "/root/.ssh/authorized_keys", f"/home/{USER}/.ssh/authorized_keys"])
    on.run(["chown", USER, f"/home/{USER}/.ssh/authorized_keys"])
    rules = f"Defaults:{USER} logfile=/var/log/sudo-{USER}.log, log_input, log_output\n{USER} ALL=(ALL) ALL\n"
    on.write("/etc/sudoers.d/secretkeeper", rules.encode(), mode=0o440)
    assert on.run(["visudo", "-c"]).rc == 0
    yield
    on.run(
        [
            "rm",
            "-rf",
            "/etc/sudoers.d/secretkeeper",
            f"/var/log/sudo-{USER}.log",
            "/var/log/sudo-io",
            "/root/kept",
        ]
    )
    on.run(["userdel", "-rf", USER])


PLAYBOOK = """\
- hosts: worker1
  gather_facts: true
  become: true
  vars_files: [whole.yml]
  vars:
    inline: !vault |
%(inline)s
  environment: {PLANTED: "{{ env_value }}"}
  tasks:
    - name: into a file, with a diff
      copy: {content: "a={{ inline }}\\nb={{ whole }}\\nc={{ api_token }}\\n", dest: /root/kept, mode: "0600"}
    - name: on standard input, and out again
      command: {cmd: cat, stdin: "{{ inline }} {{ whole }} {{ api_token }}"}
      environment: {PLANTED: ""}
    - name: found out under no_log
      command: {cmd: cat, stdin: "%(no_log_turned)s"}
      environment: {PLANTED: ""}
      no_log: true
      register: found
    - {name: fact, set_fact: {turned: "{{ found.stdout | reverse }}"}, no_log: true}
    - name: what was found out comes back
      copy: {content: "d={{ turned }}\\n", dest: /root/kept, mode: "0600"}
    - name: raw
      raw: 'test -n "$PLANTED" && echo there'
    - name: script
      script: planted.sh
    - name: a loop over them
      copy: {content: "{{ item }}", dest: /root/kept, mode: "0600"}
      loop: ["{{ inline }}", "{{ whole }}", "{{ turned }}"]
    - name: a name with {{ api_token }}
      ping:
    - name: it fails with them
      fail: {msg: "no good: {{ inline }} {{ whole }} {{ api_token }} {{ turned }}"}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, planted: dict[str, str], lab) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    password = planted["vault_password"].encode()
    inline = encrypt(planted["vault"].encode(), password, "prod")
    whole = f"whole: {planted['whole_file']}\nenv_value: {planted['environment']}\n"
    (folder / "whole.yml").write_text(encrypt(whole.encode(), password))
    (folder / "extra.yml").write_text(f"api_token: {planted['extra']}\n")
    indented = "\n".join(f"      {line}" for line in inline.splitlines())
    # The secret of the no_log result is made on the node, so that only the result holds it.
    text = PLAYBOOK % {"inline": indented, "no_log_turned": planted["no_log"][::-1]}
    (folder / "site.yml").write_text(text)
    (folder / "files").mkdir()
    script = folder / "files/planted.sh"
    script.write_text('#!/bin/sh\ntest -n "$PLANTED" && echo there\n')
    for name in ("vault_password", "become"):
        (folder / f"{name}.txt").write_text(planted[name] + "\n")
        (folder / f"{name}.txt").chmod(0o600)
    to = lab.connection("worker1")
    to["ansible_user"] = USER
    words = " ".join(f"{key}={value}" for key, value in to.items())
    (folder / "hosts.ini").write_text(f"worker1 {words}\n")
    return folder


def forms(secret: str) -> list[bytes]:
    return [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")]


def leaks(data: bytes, planted: dict[str, str], where: str) -> list[str]:
    return [
        f"{kind}: {where}: …{data[max(0, at - 80) : at + 20]!r}"
        for kind, secret in planted.items()
        for form in forms(secret)
        if (at := data.find(form)) >= 0
    ]


def test_planted_secrets_are_found_nowhere(node, ssh, lab, project, planted, keeper, tmp_path) -> None:
    on = node("worker1")
    samplers = [
        Sampler(planted, "/tmp/labctl-sampler-stop", ssh),
        Sampler(planted, str(tmp_path / "stop"), []),
    ]
    state = tmp_path / "state"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LABCTL_STATE": str(state)}
    argv = [
        sys.executable,
        "-P",
        "-m",
        "labctl",
        "run",
        "site.yml",
        "-i",
        "hosts.ini",
        "-vvvv",
        "--diff",
        "-T",
        "60",
    ]
    argv += [
        "-e",
        "@extra.yml",
        "--vault-id",
        "prod@vault_password.txt",
        "--become-password-file",
        "become.txt",
    ]
    outputs: dict[str, bytes] = {}
    try:
        for name, more, code in (
            ("check", ["--check"], 3),
            ("real", [], 2),
            ("json", ["--output", "json"], 2),
        ):
            on.run(["rm", "-f", "/root/kept"])  # a diff would show what an earlier run has left there
            done = subprocess.run(
                [*argv, *more], cwd=project, env=environment, capture_output=True, timeout=240, check=False
            )
            outputs[name] = done.stdout + done.stderr
            assert done.returncode == code, outputs[name].decode()
    finally:
        found = [line for sampler in samplers for line in sampler.stop()]
    assert not found, "\n".join(found)

    # It did what it says: otherwise nothing could have leaked.
    assert b"it fails with them" in outputs["real"]
    assert outputs["real"].count(b"********") >= 10
    assert b"there" in outputs["real"]
    assert on.read("/root/kept") == planted["no_log"].encode()

    problems = [
        leak for name, data in outputs.items() for leak in leaks(data, planted, f"output of the {name} run")
    ]
    written = [path for path in (project / "runs").rglob("*") if path.is_file()]
    assert {"events.jsonl", "run.json"} <= {path.name for path in written}
    written += [path for path in state.rglob("*") if path.is_file()] if state.exists() else []
    for path in written:
        problems += leaks(path.read_bytes(), planted, str(path))

    script = (
        "find /tmp /var/tmp /run/user /dev/shm -xdev -type f -exec cat {} + 2>/dev/null;"
        f" cat /var/log/auth.log /var/log/syslog /var/log/messages /var/log/sudo-{USER}.log 2>/dev/null;"
        " journalctl --no-pager -o export 2>/dev/null; true"
    )
    logs = on.run(["sh", "-c", script]).stdout
    assert b"COMMAND=" in logs, "sudo's log must be among what is looked at"
    problems += leaks(logs, planted, "files and logs of the node")
    io = on.run(["sh", "-c", "find /var/log/sudo-io -type f -exec zcat -f {} + 2>/dev/null; true"]).stdout
    problems += leaks(io, {"become": planted["become"]}, "what sudo recorded")
    assert not problems, "\n".join(problems)
    shutil.rmtree(project / "runs")
