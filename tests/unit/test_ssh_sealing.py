"""Packets under AES-GCM, to a real sshd and back: whole, through new keys, with compression, and none that was
changed on the way."""

import os
import socket
import threading

import paramiko
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from labctl.ssh import sealing, transport
from labctl.ssh.prompt import PromptSocket
from tests.unit import test_ssh_connections

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a test sshd that lets users in needs root")
sshd = test_ssh_connections.sshd
MEGABYTES = os.urandom(1 << 20) * 3


def echoed(session: transport.Session, data: bytes) -> bytes:
    """What `cat` on the host gives back: twice as much goes through as the windows hold."""
    channel = session.execute("cat")

    def send():
        channel.sendall(data)
        channel.shutdown_write()

    thread = threading.Thread(target=send)
    thread.start()
    found = b"".join(iter(lambda: channel.recv(1 << 16), b""))
    thread.join()
    return found


class TestConnection:
    def test_data_comes_back(self, sshd):
        session = transport.Session(sshd.settings())
        assert session.transport.remote_cipher == "aes128-gcm@openssh.com"
        assert session.transport.packetizer._inbound.packets > 0
        assert echoed(session, MEGABYTES) == MEGABYTES
        session.close()

    def test_new_keys_in_the_middle(self, sshd, monkeypatch):
        monkeypatch.setattr(sealing.Packetizer, "REKEY_BYTES", 1 << 20)
        made = []
        stream = sealing._Stream
        monkeypatch.setattr(sealing, "_Stream", lambda *given: made.append(given) or stream(*given))
        session = transport.Session(sshd.settings())
        assert echoed(session, MEGABYTES) == MEGABYTES
        assert len(made) > 2  # keys for each direction, and then again
        assert echoed(session, b"still there") == b"still there"
        session.close()

    def test_compression(self, sshd):
        session = transport.Session(sshd.settings(compression=True))
        session.transport.renegotiate_keys()
        assert session.transport.packetizer._compress is not None
        assert echoed(session, MEGABYTES) == MEGABYTES
        session.close()

    def test_other_ciphers_are_paramikos(self, sshd, monkeypatch):
        monkeypatch.setattr(transport, "_CIPHERS", ("aes128-ctr",))
        session = transport.Session(sshd.settings())
        assert session.transport.remote_cipher == "aes128-ctr"
        assert session.transport.packetizer._inbound is None
        assert echoed(session, MEGABYTES) == MEGABYTES
        session.close()


@pytest.fixture
def ends():
    """Two packetizers with a socket between them and the same key."""
    pair = socket.socketpair()
    made = [sealing.Packetizer(end) for end in pair]
    engine, nonce = AESGCM(b"k" * 16), b"n" * 4 + b"\xff" * 8  # the counter wraps around
    made[0].set_outbound_cipher(engine, 16, None, 16, None, aead=True, iv_out=nonce)
    made[1].set_inbound_cipher(engine, 16, None, 16, None, aead=True, iv_in=nonce)
    yield (*made, *pair)
    for end in pair:
        end.close()


class TestPackets:
    @pytest.mark.parametrize("size", [1, 2, 11, 12, 13, 31, 32, 33, 1000])
    def test_every_length(self, ends, size):
        for number in range(300):
            ends[0].send_message(paramiko.Message(b"\x5e" + b"x" * (size - 1)))
            kind, message = ends[1].read_message()
            assert (kind, message.asbytes(), message.seqno) == (0x5E, b"x" * (size - 1), number)

    def test_paramiko_reads_them(self, ends):
        theirs, nonce = paramiko.packet.Packetizer(ends[3]), b"n" * 12
        engine = AESGCM(b"k" * 16)
        ends[0].set_outbound_cipher(engine, 16, None, 16, None, aead=True, iv_out=nonce)
        theirs.set_inbound_cipher(engine, 16, None, 16, None, aead=True, iv_in=nonce)
        ends[0].send_message(paramiko.Message(b"\x5e" + b"x" * 100))
        assert theirs.read_message()[1].asbytes() == b"x" * 100

    @pytest.mark.parametrize("place", [4, 30, -1])
    def test_one_changed_bit(self, ends, place):
        ends[0].send_message(paramiko.Message(b"\x5e" + b"x" * 100))
        data = bytearray(ends[3].recv(1000))
        data[place] ^= 1
        ends[2].sendall(data)
        with pytest.raises(InvalidTag):
            ends[1].read_message()

    @pytest.mark.parametrize("length", [0, 17, 1 << 30])
    def test_impossible_lengths(self, ends, length):
        ends[2].sendall(length.to_bytes(4, "big"))
        with pytest.raises(paramiko.SSHException, match="blocking"):
            ends[1].read_message()

    def test_a_cipher_of_another_kind_later(self, ends):
        with pytest.raises(paramiko.SSHException, match="another kind of cipher"):
            ends[1].set_inbound_cipher(None, 16, None, 16, None)


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
