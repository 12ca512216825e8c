"""Ansible Vault's format 1.1 and 1.2.

A header line, then hexadecimal text in lines of 80: salt, HMAC-SHA256 and AES-256-CTR ciphertext, each in
hexadecimal itself. One PBKDF2-HMAC-SHA256 of 10,000 rounds makes both keys and the counter's start.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
from pathlib import Path

from labctl.errors import Mark, VaultError
from labctl.records import dataclass

HEADER = "$ANSIBLE_VAULT;"
_ROUNDS = 10_000
_KEY, _COUNTER, _SALT, _BLOCK, _WIDTH = 32, 16, 32, 16, 80
_LABEL = re.compile(r"[^;\s]+")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a ciphertext holds. `label` is its vault id; None in format 1.1."""

    label: str | None
    salt: bytes
    mac: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """What one password makes of one salt."""

    cipher: bytes
    mac: bytes
    counter: bytes


def is_encrypted(data: str | bytes) -> bool:
    return data.startswith(HEADER) if isinstance(data, str) else data.startswith(HEADER.encode())


def is_encrypted_file(path: Path) -> bool:
    """Whether a file begins as Vault's do; OSError when it cannot be read."""
    with path.open("rb") as stream:
        return is_encrypted(stream.read(len(HEADER)))


def parse(text: str | bytes, mark: Mark | None = None) -> Sealed:
    """VaultError for what is not in format 1.1 or 1.2."""
    plain = text.decode("ascii", errors="replace") if isinstance(text, bytes) else text
    lines = [line.strip() for line in plain.strip().splitlines()]
    fields = [field.strip() for field in (lines[0] if lines else "").split(";")]
    if fields[0] != HEADER[:-1] or len(fields) < 3:
        raise VaultError(
            "this is not encrypted with Ansible Vault",
            mark=mark,
            hint=f"its first line is '{HEADER}1.1;AES256' or '{HEADER}1.2;AES256;<vault id>'",
        )
    version, cipher, label = fields[1], fields[2], ";".join(fields[3:]) or None
    if version not in ("1.1", "1.2") or cipher != "AES256":
        raise VaultError(
            f"Ansible Vault's format {version} with {cipher} cannot be read",
            mark=mark,
            hint="1.1 and 1.2 can",
        )
    try:
        salt, mac, data = binascii.unhexlify("".join(lines[1:])).split(b"\n", 2)
        return Sealed(label, *map(binascii.unhexlify, (salt, mac, data)))
    except ValueError:
        raise VaultError("this ciphertext of Ansible Vault is damaged", mark=mark) from None


def derive(password: bytes, salt: bytes) -> Keys:
    made = hashlib.pbkdf2_hmac("sha256", password, salt, _ROUNDS, 2 * _KEY + _COUNTER)
    return Keys(made[:_KEY], made[_KEY : 2 * _KEY], made[2 * _KEY :])


def unseal(sealed: Sealed, keys: Keys) -> bytes | None:
    """The clear bytes; None when the keys are of another password."""
    if not hmac.compare_digest(hmac.digest(keys.mac, sealed.data, "sha256"), sealed.mac):
        return None
    padded = _crypt(sealed.data, keys)
    return padded[: len(padded) - padded[-1]]


def encrypt(data: bytes, password: bytes, label: str | None = None, salt: bytes | None = None) -> str:
    """The ciphertext with its header; format 1.2 when it has a vault id other than 'default'."""
    if label is not None and not _LABEL.fullmatch(label):
        raise VaultError(f"'{label}' cannot be a vault id: it holds ';' or blanks")
    salt = salt or os.urandom(_SALT)
    keys = derive(password, salt)
    short = _BLOCK - len(data) % _BLOCK
    sealed = _crypt(data + bytes([short]) * short, keys)
    mac = hmac.digest(keys.mac, sealed, "sha256")
    text = binascii.hexlify(b"\n".join(map(binascii.hexlify, (salt, mac, sealed)))).decode()
    head = f"{HEADER}1.2;AES256;{label}" if label not in (None, "default") else f"{HEADER}1.1;AES256"
    return "\n".join([head, *(text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)), ""])


def _crypt(data: bytes, keys: Keys) -> bytes:
    """AES-256-CTR: the same both ways."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    worker = Cipher(algorithms.AES(keys.cipher), modes.CTR(keys.counter)).encryptor()
    return worker.update(data) + worker.finalize()
