"""Broken hosts and full disks: one clear message, the documented exit code, never a traceback."""

from __future__ import annotations

import textwrap

import pytest
import yaml


@pytest.fixture
def run(labctl, inventory_file, tmp_path):
    """`run(tasks, host variables)`: tasks on worker1 (and worker2), with these variables for worker1."""

    def call(tasks: str, *options: object, hosts: str = "worker1", **variables):
        inventory = yaml.safe_load(inventory_file.read_text())
        inventory["all"]["hosts"]["worker1"].update(variables)
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
        text = f"- hosts: {hosts}\n  gather_facts: false\n  tasks:\n" + textwrap.indent(
            textwrap.dedent(tasks), "    "
        )
        (tmp_path / "site.yml").write_text(text)
        done = labctl("run", "site.yml", "-i", "hosts.yml", *options, cwd=tmp_path)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return call


def test_unreachable_host(run):
    done = run("- command: hostname\n", "-T", "3", hosts="workers", ansible_port=1)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "fatal: [worker1]: UNREACHABLE!" in done.stdout
    assert "changed: [worker2]" in done.stdout


def test_wrong_host_key(run, tmp_path, lab):
    address = lab.connection("worker1")["ansible_host"]
    other = next(
        line.split(None, 1)[1]
        for line in lab.known_hosts.read_text().splitlines()
        if not line.startswith(address)
    )
    wrong = tmp_path / "known_hosts"
    wrong.write_text(f"{address} {other}\n")
    done = run("- command: hostname\n", labctl_known_hosts=str(wrong))
    assert done.returncode == 4, done.stdout + done.stderr
    assert "host key" in done.stdout.lower()


def test_host_without_python_still_takes_raw(run):
    missing = {"ansible_python_interpreter": "/nowhere/python3"}
    done = run("- command: hostname\n", **missing)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "python" in done.stdout.lower()
    done = run("- raw: hostname\n  register: r\n- debug: {var: r.stdout}\n", **missing)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "worker1" in done.stdout.split("r.stdout")[1]


def test_wrong_user_is_refused_by_sshd(run):
    done = run("- command: hostname\n", ansible_user="nobody-at-all")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "nobody-at-all" in done.stdout


def test_full_disk(run, node):
    worker = node("worker1")
    worker.mkdir("/mnt/engine-full")
    assert worker.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt/engine-full"]).rc == 0
    try:
        done = run("- copy: {content: \"{{ 'x' * 200000 }}\", dest: /mnt/engine-full/big}\n")
        assert worker.list("/mnt/engine-full") == []
    finally:
        worker.run(["umount", "/mnt/engine-full"])
        worker.remove("/mnt/engine-full")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no space left" in done.stdout.lower()
    assert "/mnt/engine-full" in done.stdout
    assert "site.yml:4:" in done.stdout


def test_undefined_variable_has_its_position(run):
    done = run("- command: echo {{ nowhere_defined }}\n")
    assert done.returncode == 8, done.stdout + done.stderr
    assert "'nowhere_defined' is undefined" in done.stdout
    assert "site.yml:4:" in done.stdout
