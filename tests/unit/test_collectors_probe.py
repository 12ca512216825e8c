"""The prober as a process, against servers that answer, hang, refuse, or talk nonsense."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from labctl.measure.migration import read_probes
from labctl.node.bundle import with_siblings
from labctl.paths import builtin

COLLECTORS = builtin("collectors")
SOURCE = with_siblings(COLLECTORS / "probe.py", "parts", COLLECTORS / "parts").decode()  # as it travels


def http(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


GOOD = http(json.dumps({"step": 412, "completed": ["data-processor"], "boot": "b1", "more": 1}))


@contextmanager
def server(answer: bytes | None) -> Iterator[tuple[str, Callable[[int], None]]]:
    """A server on loopback that sends `answer` to every request, or nothing at all and keeps the connection
    open. Yields its URL, and a function that waits until so many connections have come."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    came = threading.Condition()
    held: list[socket.socket] = []
    count = 0

    def serve() -> None:
        nonlocal count
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if answer is None:
                held.append(connection)
            else:
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)
            with came:
                count += 1
                came.notify_all()

    def wait_for(connections: int) -> None:
        with came:
            assert came.wait_for(lambda: count >= connections, timeout=60)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/progress", wait_for
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in held:
            connection.close()


def probe(urls: list[str], until: Callable[[], None], *options: object) -> list[dict[str, Any]]:
    """Probe until `until` returns, then ask for the end."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SOURCE, *urls, *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_good_answers_carry_the_progress() -> None:
    with server(GOOD) as (url, wait_for):
        header, *probes, end = probe([url], lambda: wait_for(5), "--host", "master", "--timeout", 30)
    assert (header["host"], header["url"], header["period"]) == ("master", url, 0.02)
    assert [entry["n"] for entry in probes] == list(range(end["sent"]))
    assert sum(not entry["ok"] for entry in probes) == end["failed"]
    good = next(entry for entry in probes if entry["ok"])
    assert (good["step"], good["completed"], good["boot"]) == (412, ["data-processor"], "b1")
    assert good["ms"] > 0


def test_a_hung_question_delays_no_other() -> None:
    with server(None) as (url, wait_for):  # none is answered, and none times out, before 5 are asked
        _, *probes, end = probe([url], lambda: wait_for(5), "--timeout", 600)
    assert end["sent"] >= 5
    assert {entry["error"] for entry in probes} == {"timeout"}


def test_an_overdue_question_has_failed() -> None:
    with server(None) as (url, wait_for):
        _, first, *_ = probe([url], lambda: wait_for(20), "--timeout", 0.05)
    assert (first["ok"], first["error"]) == (False, "timeout")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (http("busy", "503 Unavailable"), "status 503"),
        (http("not json"), "not JSON"),
        (http("[1]"), "not JSON"),
        (b"", "closed without an answer"),
    ],
)
def test_a_bad_answer_is_a_failure(answer: bytes, error: str) -> None:
    with server(answer) as (url, wait_for):
        probes = probe([url], lambda: wait_for(3), "--timeout", 30)[1:-1]
    assert error in {entry.get("error") for entry in probes}
    assert not any(entry["ok"] for entry in probes)


def test_a_closed_port_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    with server(GOOD) as (url, wait_for):
        _, *probes, _ = probe([closed, url], lambda: wait_for(3), "--timeout", 30)
        assert {entry.get("url", url) for entry in probes if entry["ok"]} == {url}
    with subprocess.Popen([sys.executable, "-c", SOURCE, closed], stdout=subprocess.PIPE) as process:
        assert process.stdout
        _, first = process.stdout.readline(), json.loads(process.stdout.readline())
        process.kill()
    assert (first["ok"], first["error"]) == (False, "refused")


def test_of_several_answers_the_furthest_counts() -> None:
    behind = http(json.dumps({"step": 7, "completed": [], "boot": "old"}))
    with ExitStack() as stack:
        old, _ = stack.enter_context(server(behind))
        new, wait_for = stack.enter_context(server(GOOD))
        probes = probe([old, new], lambda: wait_for(4), "--timeout", 30)[1:-1]
    assert probes[0]["step"] == 412
    assert probes[0]["url"] == new


def test_its_lines_are_probes() -> None:
    with server(GOOD) as (url, wait_for):
        lines = probe([url], lambda: wait_for(3), "--timeout", 30)
    read = read_probes([json.dumps(line) for line in lines], offset=10.0)
    assert len(read.probes) == lines[-1]["sent"]
    assert read.probes[0].completed == {"data-processor"}
    assert read.probes[0].t == pytest.approx(lines[1]["wall"] - 10.0, abs=0.01)


@pytest.mark.parametrize("url", ["ftp://host/", "http://:80/", "http://host:port/"])
def test_a_url_it_cannot_ask_is_refused(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", SOURCE, url], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "expected http://HOST:PORT/PATH" in done.stderr
