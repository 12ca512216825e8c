"""Connections that are opened while the playbook is still being read: which, and what becomes of them."""

from __future__ import annotations

import socket
import time

import pytest

from labctl.cli.main import main
from labctl.ssh import knock as knocking

PLAY = "- hosts: web\n  gather_facts: false\n  tasks: [{debug: {msg: hello}}]\n"


@pytest.fixture
def port():
    """Of somebody who listens, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
    knocking.leave()


@pytest.fixture
def knocks(monkeypatch) -> list[tuple[str, int]]:
    made: list[tuple[str, int]] = []
    monkeypatch.setattr("labctl.cli.knocking.knock", lambda *place: made.append(place))
    return made


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def go(*options: str, play: str = PLAY, inventory: str | None = None) -> int:
        (tmp_path / "play.yml").write_text(play)
        hosts = inventory or (
            "[web]\none ansible_host=192.0.2.1\ntwo ansible_host=192.0.2.2 ansible_port=2222\n[db]\nthree\n"
        )
        (tmp_path / "hosts").write_text(hosts)
        return main(["run", "play.yml", "-i", "hosts", *options])

    return go


def test_at_the_first_plays_hosts(run, knocks):
    run()
    assert knocks == [("192.0.2.1", 22), ("192.0.2.2", 2222)]


def test_at_those_of_the_limit(run, knocks):
    run("--limit", "two")
    assert knocks == [("192.0.2.2", 2222)]


@pytest.mark.parametrize("option", ["--syntax-check", "--list-hosts", "--list-tasks", "--list-tags"])
def test_not_for_a_look(run, knocks, option):
    run(option)
    assert not knocks


@pytest.mark.parametrize(
    "play",
    [
        PLAY.replace("web", "'{{ where }}'"),
        PLAY.replace("web", "localhost"),
        PLAY.replace("web", "nowhere"),
        PLAY.replace("  tasks", "  connection: local\n  tasks"),
        PLAY.replace("  tasks", "  port: 2022\n  tasks"),
    ],
)
def test_not_where_it_is_not_known_whom_it_is_for(run, knocks, play):
    run(play=play)
    assert not knocks


@pytest.mark.parametrize(
    "line",
    [
        "one ansible_connection=local",
        "one ansible_host=a.name.that.would.be.looked.up",
        "one ansible_host='{{ made }}'",
        "one ansible_host=192.0.2.1 ansible_ssh_common_args='-o ProxyJump=other'",
    ],
)
def test_not_at_hosts_that_are_reached_otherwise(run, knocks, line):
    run(inventory=f"[web]\n{line}\n")
    assert not knocks


def test_an_opened_connection_is_taken_once(port):
    knocking.knock("127.0.0.1", port)
    knocking.knock("127.0.0.1", port)
    taken = knocking.take("127.0.0.1", port, 5.0)
    assert taken is not None
    assert taken.getpeername() == ("127.0.0.1", port)
    assert taken.gettimeout() == 5.0
    taken.close()
    assert knocking.take("127.0.0.1", port, 5.0) is None


def test_nothing_is_taken_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    knocking.knock("127.0.0.1", port)
    assert knocking.take("127.0.0.1", port, 5.0) is None


def test_an_old_one_is_not_taken(port, monkeypatch):
    knocking.knock("127.0.0.1", port)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 11)
    assert knocking.take("127.0.0.1", port, 5.0) is None


def test_what_nobody_has_taken_is_closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        knocking.knock(*server.getsockname())
        there, _ = server.accept()
        knocking.leave()
        assert there.recv(1) == b""
        there.close()
