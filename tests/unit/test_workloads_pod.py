"""The processor and the monitor are run as processes; the manifest and recipes name files that exist."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

PROGRAMS = Path(__file__).resolve().parents[2] / "workloads" / "training-pod"
Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started: list[subprocess.Popen[str]] = []

    def make(program: str, **env: object) -> subprocess.Popen[str]:
        for name in ("state", "pod"):
            (tmp_path / name).mkdir(exist_ok=True)
        settings = {"STATE_DIR": tmp_path / "state", "POD_DIR": tmp_path / "pod", **env}
        started.append(
            subprocess.Popen(
                [sys.executable, "-u", str(PROGRAMS / program)],
                env={**os.environ, **{key: str(value) for key, value in settings.items()}},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield make
    for process in started:
        process.kill()
        process.communicate()


def events(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    out, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in out.splitlines()]


def monitor(run: Run, **env: object) -> tuple[subprocess.Popen[str], http.client.HTTPConnection]:
    process = run("monitor.py", PORT=0, **env)
    assert process.stdout
    port = json.loads(process.stdout.readline())["port"]
    return process, http.client.HTTPConnection("127.0.0.1", port, timeout=10)


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, Any]:
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, json.loads(body) if answer.headers["Content-Type"] == "application/json" else body


def test_the_processor_completes_with_a_result_and_a_second_run_does_it_all_again(
    run: Run, tmp_path: Path
) -> None:
    found = []
    for _ in range(2):
        process = run("processor.py", PROCESS_SECONDS=0.3, PROCESS_RECORDS=700, POD_INSTANCE="pod-1")
        last = events(process)[-1]
        assert (process.returncode, last["event"]) == (0, "completed")
        assert last["cpu_seconds"] > 0
        found.append(json.loads((tmp_path / "state" / "processor.result.json").read_text()))
    assert found[0] == found[1]
    groups = found[0]["groups"]
    assert sum(group["count"] for group in groups.values()) == found[0]["records"] == 2100 - found[0]["bad"]
    assert 0 < found[0]["bad"] < 30
    assert all(group["p50"] < group["p95"] for group in groups.values())
    done = json.loads((tmp_path / "state" / "processor.done.json").read_text())
    assert (done["completed"], done["instance"], done["sha256"]) == (True, "pod-1", found[0]["sha256"])


def test_a_stopped_processor_has_not_completed(run: Run, tmp_path: Path) -> None:
    process = run("processor.py", PROCESS_SECONDS=30, PROCESS_RECORDS=10)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert events(process)[-1]["event"] == "stop"
    assert process.returncode == 143
    assert list((tmp_path / "state").iterdir()) == []


def test_the_monitor_tells_what_the_pod_published(run: Run, tmp_path: Path) -> None:
    process, connection = monitor(run)
    status, page = ask(connection, "/progress")
    assert (status, page["step"], page["completed"]) == (200, None, [])
    (tmp_path / "pod" / "progress.json").write_text('{"step": 41, "to": "abc"}')
    (tmp_path / "pod" / "processor.json").write_text('{"name": "data-processor", "completed": true}')
    (tmp_path / "pod" / "broken.json").write_text('{"name": ')
    page = ask(connection, "/progress")[1]
    assert (page["step"], page["to"], page["completed"]) == (41, "abc", ["data-processor"])
    (tmp_path / "pod" / "processor.json").unlink()  # its memory restored elsewhere: an empty emptyDir
    again = ask(connection, "/progress")[1]
    assert (again["completed"], again["boot"]) == (["data-processor"], page["boot"])
    assert ask(connection, "/healthz") == (200, b"ok\n")
    assert ask(connection, "/secrets")[0] == 404
    process.send_signal(signal.SIGTERM)
    assert events(process)[-1]["event"] == "stop"
    assert process.returncode == 143


def test_a_completion_elsewhere_counts_only_with_its_record_and_when_named(run: Run, tmp_path: Path) -> None:
    _, claimed = monitor(run, COMPLETED="data-processor,someone-else")
    assert ask(claimed, "/progress")[1]["completed"] == [], "claimed, but there is no record of it"
    (tmp_path / "state" / "processor.done.json").write_text('{"name": "data-processor", "completed": true}')
    assert ask(claimed, "/progress")[1]["completed"] == ["data-processor"]
    _, unclaimed = monitor(run)
    assert ask(unclaimed, "/progress")[1]["completed"] == [], "an old record, not of this pod"


def test_the_monitor_survives_clients_that_misbehave(run: Run) -> None:
    process, connection = monitor(run)
    port = connection.port
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(80)]
    for garbage in (b"\x16\x03\x01 TLS?\r\n\r\n", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"A" * 20000):
        # the server may hang up before it has heard all
        with socket.create_connection(("127.0.0.1", port)) as client, suppress(OSError):
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(100), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    assert ask(connection, "/healthz")[0] == 200
    assert process.poll() is None
    for client in silent:
        client.close()


@pytest.mark.parametrize("recipe", ["recipe.yml", "recipe-tensorflow.yml"])
def test_a_recipe_holds_every_program_and_what_it_imports(recipe: str) -> None:
    files = yaml.safe_load((PROGRAMS / recipe).read_text())["files"]
    assert set(files) == {path.name for path in PROGRAMS.glob("*.py")}
    assert all(target == f"/app/{name}" for name, target in files.items())


def test_the_manifest_runs_the_programs_of_the_recipe() -> None:
    pod = yaml.safe_load((PROGRAMS / "pod.yml").read_text())
    recipe = yaml.safe_load((PROGRAMS / "recipe.yml").read_text())
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    assert list(containers) == ["tensorflow-trainer", "data-processor", "model-monitor"]
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    for container in containers.values():
        assert container["image"] == recipe["name"]
        assert container["command"][-1] in recipe["files"].values()
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert all(isinstance(entry["value"], str) for entry in container["env"])
        assert {"requests", "limits"} == set(container["resources"])
