"""What is remembered of a lab between commands, and the lock that lets one command at a time change it."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.lab.system import Progress
from labctl.records import dataclass


@dataclass(frozen=True)
class LabState:
    """A lab that has been made, wholly or partly. `id` is random: names made of it collide with no other
    lab of this machine, wherever that keeps its files."""

    id: str
    name: str
    path: str
    instance: str | None
    nodes: list[str]
    rootfs: str
    bridge: str | None = None
    subnet: str | None = None

    def save(self, folder: Path) -> None:
        part = folder / "lab.json.part"
        part.write_text(json.dumps(dataclasses.asdict(self), indent=1))
        part.rename(folder / "lab.json")


def new_id() -> str:
    return secrets.token_hex(3)


def load(folder: Path) -> LabState | None:
    """The lab kept in this folder; None when there is none (or only the beginnings of one)."""
    try:
        return LabState(**json.loads((folder / "lab.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def locked(folder: Path, progress: Progress) -> Iterator[Path]:
    """One command at a time makes or removes the lab of this folder; yields the lock's file, which its
    holder may remove."""
    path = folder.with_name(folder.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another labctl that is working on this lab", None)
                fcntl.flock(stream, fcntl.LOCK_EX)
            if _is_still(path, stream.fileno()):
                yield path
                return


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file is still the one at `path`: its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
