"""Where vault passwords come from: `label@source`, a source being a file, a program or `prompt`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from labctl.errors import UsageError
from labctl.records import dataclass, field

DEFAULT = "default"
PROMPT = "prompt"
_NO_SECRET_FOR_ID = 2  # what a client script ends with that does not know the vault id


@dataclass(frozen=True, slots=True)
class Password:
    """A password and the vault id it goes by."""

    label: str
    secret: bytes = field(repr=False)


def split(vault_id: str) -> tuple[str | None, str]:
    """`label@source`; only a source: no label. UsageError for a label that cannot stand in a header."""
    label, at, source = vault_id.partition("@")
    if not at:
        label, source = "", vault_id
    if ";" in vault_id:
        raise UsageError(f"'{vault_id}' cannot be a vault id: it holds ';'")
    return label or None, source


def read(source: str, label: str | None, decrypt: Callable[[bytes], bytes]) -> Password:
    """The password in a file, or printed by an executable one. `decrypt` opens a file that is itself
    encrypted. UsageError when there is none."""
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"there is no vault password file '{source}'")
    if path.is_dir():
        raise UsageError(f"the vault password file '{source}' is a directory")
    secret = _of_program(path, label) if os.access(path, os.X_OK) else _of_file(path, decrypt)
    return Password(label or DEFAULT, checked(secret, f"from '{source}'"))


def checked(secret: bytes, where: str) -> bytes:
    if not secret:
        raise UsageError(f"the vault password {where} is empty")
    return secret


def _of_file(path: Path, decrypt: Callable[[bytes], bytes]) -> bytes:
    try:
        return decrypt(path.read_bytes().strip()).strip(b"\r\n")
    except OSError as error:
        raise UsageError(f"the vault password file '{path}' cannot be read: {error.strerror}") from None


def _of_program(path: Path, label: str | None) -> bytes:
    client = path.stem.endswith("-client")
    command = [str(path), *(("--vault-id", label) if client and label else ())]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise UsageError(
            f"the vault password program '{path}' cannot be run: {error.strerror}",
            hint="a file that holds the password must not be executable",
        ) from None
    if client and done.returncode == _NO_SECRET_FOR_ID:
        raise UsageError(f"the vault password program '{path}' has no password for the vault id '{label}'")
    if done.returncode:
        raise UsageError(f"the vault password program '{path}' ended with {done.returncode}")
    return done.stdout.strip(b"\r\n")
