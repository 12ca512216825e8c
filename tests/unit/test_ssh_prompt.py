"""The socket below SSH: pieces in order, and timeouts as paramiko expects them."""

import os
import socket
import threading

import pytest

from labctl.ssh.prompt import PromptSocket

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
