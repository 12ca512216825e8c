"""Files in pieces: what becomes of a `put` or a `get` after its first frame. Runs on the node: standard library only,
Python 3.8 syntax."""

from __future__ import annotations

from labctl.node import agent_replace

TYPE_CHECKING = False  # typing itself takes long to import
if TYPE_CHECKING:
    from _queue import SimpleQueue
    from typing import Any, Callable, Dict, Tuple

    Header = Dict[str, Any]
    Reply = Tuple[Header, bytes]
    Pieces = SimpleQueue[Reply]  # what the controller sends in the middle of a request
    Send = Callable[[Header, bytes], None]

CHUNK = (256 << 10) - 1024  # bytes of a piece: with what goes before it, 8 of SSH's packets
WINDOW = 4 << 20  # bytes of a transfer under way before the receiver must have confirmed some
CONFIRMED = 1 << 20  # bytes the receiver confirms at once


def put(request: Header, pieces: Pieces, send: Send) -> Reply:
    replacement, room = None, 0
    try:
        replacement = agent_replace.Replacement(request)
        while True:
            header, piece = pieces.get()
            if header.get("abort"):
                return {"written": False}, b""
            replacement.write(piece)
            if header.get("last"):
                break
            room += len(piece)
            if room >= CONFIRMED:
                send({"id": request["id"], "room": room}, b"")
                room = 0
        replacement.commit()
        return {"written": True}, b""
    finally:
        if replacement:
            replacement.abandon()


def get(request: Header, pieces: Pieces, send: Send) -> Reply:
    room = WINDOW
    with open(request["path"], "rb", buffering=0) as stream:
        while True:
            while room <= 0:
                header, _ = pieces.get()
                if header.get("abort"):
                    return {}, b""
                room += header["room"]
            piece = stream.read(CHUNK)
            if not piece:
                return {}, b""
            send({"id": request["id"], "piece": True}, piece)
            room -= len(piece)


OPERATIONS = {"put": put, "get": get}
