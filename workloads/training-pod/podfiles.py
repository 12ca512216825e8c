"""Files that another container, or the same program on another node, reads: never half-written."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import Any, Iterable, TypeVar

Number = TypeVar("Number", int, float)
STATE_DIR = os.environ.get("STATE_DIR", "/migration-checkpoint")  # the shared volume
POD_DIR = os.environ.get("POD_DIR", "/run/pod")  # an emptyDir: lives and dies with the pod on its node
BOOT = uuid.uuid4().hex[:12]  # this start of this process; survives a restore of its memory


def write_atomically(path: str, chunks: Iterable[bytes], durable: bool) -> int:
    """Replace `path` by the joined byte chunks, and return their size in bytes.

    Readers see the old file or the whole new one. `durable`: on the disk before this returns (file and
    directory are fsynced). On an error the old file is as it was and no temporary is left (OSError)."""
    temporary = path + ".tmp"
    size = 0
    try:
        with open(temporary, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                size += len(chunk)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    if durable:
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    return size


def write_json(path: str, value: Any, durable: bool = False) -> None:
    write_atomically(path, [json.dumps(value).encode()], durable)


def read_json(path: str) -> Any:
    """The parsed file, or None when it is missing or not JSON."""
    try:
        with open(path, "rb") as stream:
            return json.loads(stream.read())
    except (OSError, ValueError):
        return None


def say(event: str, **values: Any) -> None:
    """One log line."""
    line = {"event": event}
    line.update(values)
    line["boot"] = BOOT
    line["host"] = os.uname().nodename
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def number(name: str, default: Number) -> Number:
    """An environment variable as a number of the default's type; exit code 2 when it is not one."""
    text = os.environ.get(name, "")
    try:
        return type(default)(text) if text else default
    except ValueError:
        say("error", error="%s must be a number, not %r" % (name, text))
        sys.exit(2)
