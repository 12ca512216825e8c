"""SSH's packets by labctl at one end and by paramiko at the other: both must understand each other."""

import os
import socket
import threading

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko import Message, SSHException
from paramiko.compress import ZlibCompressor, ZlibDecompressor
from paramiko.packet import NeedRekeyException, Packetizer

from labctl.ssh.packets import Data, Packets
from labctl.ssh.prompt import PromptSocket

SIZES = [1, 10, 11, 12, 15, 16, 17, 100, 4079, 4096, 32_768, 65_536, 200_000]


@pytest.fixture
def sockets():
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near = PromptSocket(fileno=near.detach())
    near.settimeout(0.05)
    yield near, far
    near.close()
    far.close()


@pytest.fixture(params=[16, 32])
def ends(sockets, request):
    """Labctl's end and paramiko's, with a key for each direction."""
    ours, theirs = Packets(sockets[0]), Packetizer(sockets[1])
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        key, iv = os.urandom(request.param), os.urandom(12)
        common = {"block_size": 16, "mac_engine": None, "mac_size": 16, "mac_key": b"", "aead": True}
        sender.set_outbound_cipher(block_engine=AESGCM(key), iv_out=iv, **common)
        receiver.set_inbound_cipher(block_engine=AESGCM(key), iv_in=iv, **common)
    return ours, theirs


def crossed(sender, receiver, messages):
    """What comes of messages: their kinds and what they hold."""
    thread = threading.Thread(target=lambda: [sender.send_message(message) for message in messages])
    thread.start()
    found = [receiver.read_message() for _ in messages]
    thread.join()
    return [bytes([kind]) + message.asbytes() for kind, message in found]


def sealed(end, size):
    """A packet that was not sent."""
    packet = bytearray()
    end.write_all = packet.extend
    end.send_message(Message(b"\x5e" + bytes(size)))
    return packet


def test_paramiko_opens_what_labctl_seals(ends):
    texts = [b"\x5e" + os.urandom(size) for size in SIZES]
    assert crossed(*ends, [Message(text) for text in texts]) == texts


def test_labctl_opens_what_paramiko_seals(ends):
    texts = [b"\x5e" + os.urandom(size) for size in SIZES * 2]
    assert crossed(*ends[::-1], [Message(text) for text in texts]) == texts


def test_bytes_of_a_channel_are_a_message_of_their_own(ends):
    data = os.urandom(40_000)
    (found,) = crossed(*ends, [Data(7, memoryview(data)[:30_000])])
    message = Message(found)
    assert (message.get_byte(), message.get_int(), message.get_string()) == (b"\x5e", 7, data[:30_000])
    assert Data(7, memoryview(data)[:30_000]).asbytes() == found


def test_messages_that_go_together_are_written_at_once(ends):
    ours, theirs = ends
    written, write = [], ours.write_all
    ours.write_all = lambda data: (written.append(bytes(data)), write(data))
    texts = [b"\x5e" + os.urandom(size) for size in (10, 6000, 7000, 20)]
    with ours.together():
        for text in texts:
            ours.send_message(Message(text))
        assert not written
    assert len(written) == 1
    ours.send_message(Message(texts[0]))
    assert len(written) == 2
    found = [theirs.read_message() for _ in range(5)]
    assert [bytes([kind]) + message.asbytes() for kind, message in found] == [*texts, texts[0]]


def test_compressed_both_ways(ends):
    ours, theirs = ends
    for end in ends:
        end.set_outbound_compressor(ZlibCompressor())
        end.set_inbound_compressor(ZlibDecompressor())
    text = b"\x5e" + b"again and again " * 1000
    assert crossed(ours, theirs, [Message(text), Data(1, memoryview(text))])[0] == text
    assert crossed(theirs, ours, [Message(text)] * 2) == [text] * 2


def test_messages_are_counted_from_the_last_beginning(ends):
    ours, theirs = ends
    ours.reset_seqno_in()
    theirs.send_message(Message(b"\x02one"))
    theirs.send_message(Message(b"\x02two"))
    assert [ours.read_message()[1].seqno for _ in range(2)] == [0, 1]


def test_a_packet_that_comes_in_parts_is_waited_for(ends, sockets):
    ours, theirs = ends
    sent = sealed(theirs, 5000)
    sockets[1].sendall(sent[:3])
    timers = [
        threading.Timer(0.15, sockets[1].sendall, [sent[3:100]]),
        threading.Timer(0.3, sockets[1].sendall, [sent[100:]]),
    ]
    for timer in timers:
        timer.start()
    assert len(ours.read_message()[1].asbytes()) == 5000


def test_the_end_in_a_packet_is_an_end(ends, sockets):
    ours, theirs = ends
    sent = sealed(theirs, 5000)
    sockets[1].sendall(sent[:2000])
    sockets[1].shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        ours.read_message()


def test_a_changed_byte_is_noticed(ends, sockets):
    ours, theirs = ends
    sent = sealed(theirs, 50)
    sent[20] ^= 1
    sockets[1].sendall(sent)
    with pytest.raises(InvalidTag):
        ours.read_message()


@pytest.mark.parametrize("size", [0, 8, 33, 1 << 24])
def test_a_length_without_sense_is_refused(ends, sockets, size):
    sockets[1].sendall(size.to_bytes(4, "big") + bytes(60))
    with pytest.raises(SSHException, match=f"{size} bytes"):
        ends[0].read_message()


@pytest.mark.parametrize("way", ["sends", "receives"])
def test_new_keys_are_due_after_so_many_bytes(ends, way):
    ours = ends[0]
    ours.REKEY_BYTES = 3000
    for _ in range(2):
        assert not ours.need_rekey()
        crossed(*(ends if way == "sends" else ends[::-1]), [Message(b"\x5e" + bytes(1600))])
    assert ours.need_rekey()
    with pytest.raises(NeedRekeyException):
        ours.read_message()


def test_whether_a_packet_is_there(ends):
    ours, theirs = ends
    packet = bytes(sealed(theirs, 5_000))
    far = theirs._Packetizer__socket
    sock = ours._sock
    assert ours.is_there() == 4
    far.sendall(packet[:3])
    sock.fill(ours.is_there())
    assert ours.is_there() == 4
    far.sendall(packet[3:100])
    sock.fill(ours.is_there())
    assert ours.is_there() == len(packet)
    far.sendall(packet[100:])
    while size := ours.is_there():
        sock.fill(size)
    assert ours.read_message()[1].asbytes()[:-1] == bytes(4_999)
    with pytest.raises(TimeoutError):
        sock.fill(ours.is_there())
    far.sendall(b"\xff" * 4)
    sock.fill(4)
    assert ours.is_there() == 0
    with pytest.raises(SSHException, match="makes no sense"):
        ours.read_message()
