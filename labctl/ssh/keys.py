"""Key files: taken apart once, however many hosts they open."""

from __future__ import annotations

import os
import threading
from typing import Any

from labctl.ssh.libraries import paramiko

_Seen = tuple[tuple[int, int, int] | None, ...]


def _seen(filename: str) -> _Seen:
    """What tells whether the key or its certificate is another than before."""
    found: list[tuple[int, int, int] | None] = []
    for path in (filename, f"{filename}-cert.pub"):
        try:
            about = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((about.st_ino, about.st_mtime_ns, about.st_size))
    return tuple(found)


_one_reads = threading.Lock()
_read: dict[tuple[str, type, str | None], tuple[_Seen, paramiko.PKey | paramiko.SSHException]] = {}


class Client(paramiko.SSHClient):
    """Paramiko's, which reads a key file for each connection up to three times: once for each kind of key it may be."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[str, _Seen] = {}

    def _key_from_filepath(self, filename: str, klass: type, password: str | None) -> paramiko.PKey:
        if filename not in self._files:
            self._files[filename] = _seen(filename)
        seen, asked = self._files[filename], (filename, klass, password)
        with _one_reads:
            before = _read.get(asked)
            if before is None or before[0] != seen:
                before = _read[asked] = seen, self._outcome(*asked)
        if isinstance(before[1], paramiko.PKey):
            return before[1]
        raise type(before[1])(*before[1].args)

    def _outcome(self, *asked: Any) -> paramiko.PKey | paramiko.SSHException:
        try:
            key: paramiko.PKey = super()._key_from_filepath(*asked)  # type: ignore[misc]
        except paramiko.SSHException as error:  # not a key of this kind, or locked
            return error
        return key
