"""The socket below SSH: pieces in order, and timeouts as paramiko expects them."""

import os
import platform
import socket
import threading
from pathlib import Path

import pytest

from labctl.ssh.prompt import PromptSocket
from tests.waiting import eventually

MEGABYTES = os.urandom(1 << 20) * 3


class TestPromptSocket:
    @pytest.fixture
    def pair(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            near = socket.create_connection(server.getsockname())
            far, _ = server.accept()
        near = PromptSocket(fileno=near.detach())
        yield near, far
        near.close()
        far.close()

    def test_pieces_come_in_order(self, pair):
        near, far = pair
        data = os.urandom(100_000)
        far.sendall(data)
        far.shutdown(socket.SHUT_WR)
        found = b""
        for size in (4, 16, 30_000, 1, 200_000, 200_000, 200_000):
            piece = near.recv(size)
            assert len(piece) <= size
            found += piece
        while piece := near.recv(50_000):
            found += piece
        assert found == data

    def test_nothing_in_time_is_a_timeout(self, pair):
        pair[0].settimeout(0.01)
        with pytest.raises(TimeoutError):
            pair[0].recv(10)

    def test_no_room_in_time_is_a_timeout(self, pair):
        pair[0].settimeout(0.01)
        with pytest.raises(TimeoutError):
            while True:
                pair[0].send(MEGABYTES)

    def test_without_a_timeout_it_waits(self, pair):
        near, far = pair
        near.settimeout(0.01)
        near.settimeout(None)
        timer = threading.Timer(0.2, far.sendall, [b"late"])
        timer.start()
        assert near.recv(10) == b"late"
        timer.join()

    def test_closing_frees_whoever_waits_for_what_comes(self, pair):
        near, _far = pair
        near.settimeout(None)
        heard: list[bytes] = []
        reader = threading.Thread(target=lambda: heard.append(near.recv(10)))
        reader.start()
        until_in_recv(reader)
        near.close()
        reader.join(10)
        assert heard == [b""]

    def test_closing_one_that_was_cut_off_is_no_error(self, pair):
        near, far = pair
        far.close()
        near.close()
        near.close()


def until_in_recv(thread: threading.Thread) -> None:
    """Until the kernel has it wait for the network."""
    recvfrom = {"x86_64": "45", "aarch64": "207"}[platform.machine()]
    syscall = Path(f"/proc/self/task/{thread.native_id}/syscall")
    eventually(lambda: syscall.read_text().split()[0] == recvfrom, 10, "it never waited", every=0.001)
