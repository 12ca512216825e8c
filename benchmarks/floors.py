"""What SSH itself costs: every command on every host, and nothing else. `python -m benchmarks.floors KIND HOSTS COMMANDS`

`exec`: paramiko, a thread for each host, a channel for each command. `shell`: one `sh` for each host, commands on its
standard input. Both set TCP_NODELAY and wait for all hosts after each command, as a play does. `{host}` in a command is the
host's name. Exits with 1 when a command failed."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko

_DONE = b"\x1e"


def _connect(given: dict[str, Any], address: str, port: int) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.load_system_host_keys(given["known_hosts"])
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    raw = socket.create_connection((address, port), timeout=30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.connect(
        address,
        port,
        given["user"],
        key_filename=given["key"],
        allow_agent=False,
        look_for_keys=False,
        sock=raw,
    )
    return client


def _by_channel(client: paramiko.SSHClient) -> Callable[[str], int]:
    transport = client.get_transport()
    assert transport is not None

    def call(command: str) -> int:
        channel = transport.open_session()
        channel.exec_command(command)
        while channel.recv(65536):
            pass
        return channel.recv_exit_status()

    return call


def _by_shell(client: paramiko.SSHClient) -> Callable[[str], int]:
    transport = client.get_transport()
    assert transport is not None
    channel = transport.open_session()
    channel.exec_command("exec sh")

    def call(command: str) -> int:
        # a process of its own for each command, as every tool starts one
        channel.sendall(f"sh -c '{command}' </dev/null; printf '%d\\036' $?\n".encode())
        said = b""
        while not said.endswith(_DONE):
            piece = channel.recv(65536)
            if not piece:
                raise ConnectionError("the shell ended")
            said += piece
        return int(said[:-1].split(b"\n")[-1])

    return call


def main(kind: str, hosts: str, commands: str) -> int:
    given = json.loads(Path(hosts).read_text())
    lines = Path(commands).read_text().splitlines()
    barrier = threading.Barrier(len(given["hosts"]))
    connecting = threading.Semaphore(32)
    failed: list[str] = []

    def one(name: str, address: str, port: int) -> None:
        try:
            with connecting:
                client = _connect(given, address, port)
                call = (_by_shell if kind == "shell" else _by_channel)(client)
            for line in lines:
                if call(line.replace("{host}", name)):
                    failed.append(name)
                barrier.wait()
            client.close()
        except Exception as error:
            failed.append(f"{name}: {error}")
            barrier.abort()

    threads = [threading.Thread(target=one, args=row) for row in given["hosts"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
