"""SSH's packets under AES-GCM, with fewer copies of their bytes and fewer changes of threads than paramiko has."""

from __future__ import annotations

import os
import struct
import threading
from typing import Any

from labctl.ssh.libraries import paramiko

_BLOCK, _TAG = 16, 16  # bytes
_LENGTH = struct.Struct(">I")
_LONGEST = 1 << 20  # bytes: OpenSSH sends no packet over a quarter of that
_RANDOM = 1 << 12  # bytes of padding made at once


class _Stream:
    """One direction under one key."""

    def __init__(self, engine: Any, nonce: bytes) -> None:
        self.engine = engine
        self.packets = self.bytes = 0
        self._fixed, self._counter = nonce[:4], int.from_bytes(nonce[4:], "big")

    def nonce(self) -> bytes:
        """The next one: RFC 5647, section 7.1."""
        counter = self._counter
        self._counter = counter + 1 & 0xFFFF_FFFF_FFFF_FFFF
        return self._fixed + counter.to_bytes(8, "big")


class Packetizer(paramiko.packet.Packetizer):
    """As RFC 5647 and OpenSSH have it: the length of a packet can be read and is authenticated, the rest is
    encrypted. Any other cipher is left to paramiko; a connection does not go back to one, as the numbers of
    packets that it would need stand still here."""

    def __init__(self, socket: Any) -> None:
        super().__init__(socket)
        self._outbound: _Stream | None = None
        self._inbound: _Stream | None = None
        self._compress: Any = None
        self._decompress: Any = None
        self._number = 0  # of the next packet to come
        self._random, self._used = b"", 0
        self._sending = threading.Lock()

    # ------------------------------------------------------------ what an exchange of keys sets

    def set_outbound_cipher(self, block_engine: Any, *given: Any, **named: Any) -> None:
        super().set_outbound_cipher(block_engine, *given, **named)
        self._outbound = _stream(block_engine, named.get("iv_out"), self._outbound)

    def set_inbound_cipher(self, block_engine: Any, *given: Any, **named: Any) -> None:
        super().set_inbound_cipher(block_engine, *given, **named)
        self._inbound = _stream(block_engine, named.get("iv_in"), self._inbound)

    def set_outbound_compressor(self, compressor: Any) -> None:
        super().set_outbound_compressor(compressor)
        self._compress = compressor

    def set_inbound_compressor(self, compressor: Any) -> None:
        super().set_inbound_compressor(compressor)
        self._decompress = compressor

    def reset_seqno_in(self) -> None:
        super().reset_seqno_in()
        self._number = 0

    # ------------------------------------------------------------ packets

    def send_message(self, data: paramiko.Message) -> None:
        if self._outbound is None:
            super().send_message(data)
            return
        payload = data.asbytes()
        with self._sending:
            stream = self._outbound
            if self._compress is not None:
                payload = self._compress(payload)
            padding = self._padding(_BLOCK + 3 - (len(payload) + 4) % _BLOCK)
            plain = b"".join((bytes((len(padding),)), payload, padding))
            length = _LENGTH.pack(len(plain))
            self.write_all(length + stream.engine.encrypt(stream.nonce(), plain, length))
            self._count(stream, len(plain))

    def _padding(self, size: int) -> bytes:
        if self._used + size > len(self._random):
            self._random, self._used = os.urandom(_RANDOM), 0
        self._used += size
        return self._random[self._used - size : self._used]

    def read_message(self) -> tuple[int, paramiko.Message]:
        """The kind and the content of the next packet. Raises SSHException, NeedRekeyException, EOFError and
        cryptography's InvalidTag."""
        stream = self._inbound
        if stream is None:
            kind, message = super().read_message()
            self._number = message.seqno + 1
            return kind, message
        length = self.read_all(4, check_rekey=True)
        (size,) = _LENGTH.unpack(length)
        if size % _BLOCK or not 0 < size <= _LONGEST:
            raise paramiko.SSHException("Invalid packet blocking")
        plain = stream.engine.decrypt(stream.nonce(), self.read_all(size + _TAG), length)
        end = size - plain[0]
        if self._decompress is None:
            kind, content = plain[1], plain[2:end]
        else:
            payload = self._decompress(plain[1:end])
            kind, content = payload[0], payload[1:]
        message = paramiko.Message(content)
        message.seqno = self._number
        self._number = self._number + 1 & 0xFFFF_FFFF
        self._count(stream, size)
        packets = self.REKEY_PACKETS + self.REKEY_PACKETS_OVERFLOW_MAX
        if stream.packets > packets or stream.bytes > self.REKEY_BYTES + self.REKEY_BYTES_OVERFLOW_MAX:
            raise paramiko.SSHException("Remote transport is ignoring rekey requests")
        return kind, message

    def _count(self, stream: _Stream, size: int) -> None:
        stream.packets += 1
        stream.bytes += 4 + size + _TAG
        if stream.packets >= self.REKEY_PACKETS or stream.bytes >= self.REKEY_BYTES:
            self._trigger_rekey()  # type: ignore[attr-defined]


def _stream(engine: Any, nonce: bytes | None, before: _Stream | None) -> _Stream | None:
    if nonce is not None:
        return _Stream(engine, nonce)
    if before is not None:
        raise paramiko.SSHException("the host wants another kind of cipher in the middle of the connection")
    return None
