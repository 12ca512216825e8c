"""Ansible Vault in templates: `vault` encrypts, `unvault` decrypts, with a password of the template's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labctl.errors import VariableError
from labctl.vault import Keyring, Password, current, encrypt, is_encrypted
from labctl.yaml import Text

_LABEL = "filter_default"


def vault(data: Any, secret: Any, salt: Any = None, vault_id: str = _LABEL, wrap_object: bool = False) -> str:
    """The ciphertext; as a value that is decrypted when it is used with `wrap_object`."""
    password, text = _bytes(secret, "vault", "the password"), _bytes(data, "vault", "what is encrypted")
    current().masks.add(secret, open_=True)
    sealed = encrypt(text, password, str(vault_id), None if salt is None else str(salt).encode())
    return Text(sealed, unsafe=True, vault=True) if wrap_object else sealed


def unvault(data: Any, secret: Any, vault_id: str = _LABEL) -> str:
    """What is not encrypted stays as it is."""
    password, text = _bytes(secret, "unvault", "the password"), _bytes(data, "unvault", "what is decrypted")
    if not is_encrypted(text):
        return str(data)
    current().masks.add(secret, open_=True)
    clear = Keyring([Password(str(vault_id), password)]).decrypt(text).decode(errors="surrogateescape")
    current().masks.add(clear, open_=True)
    return clear


def _bytes(value: Any, name: str, what: str) -> bytes:
    if not isinstance(value, str | bytes):
        raise VariableError(f"{name}: {what} must be a string, not {type(value).__name__}")
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


FILTERS: dict[str, Callable[..., Any]] = {"vault": vault, "unvault": unvault}
