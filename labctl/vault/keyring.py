"""The vault passwords of this process, and what they have opened: every ciphertext once."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labctl.errors import Mark, VaultError
from labctl.events import Event
from labctl.vault.cipher import Keys, Sealed, derive, is_encrypted, is_encrypted_file, parse, unseal
from labctl.vault.masks import Masks
from labctl.vault.passwords import Password

_GIVE = "--vault-id LABEL@SOURCE, --vault-password-file, -J, or $ANSIBLE_VAULT_PASSWORD_FILE gives one"


class Keyring:
    """Passwords in the order given; a ciphertext's own vault id goes first. Threads may share it.

    `masks` learns what was opened and must not be shown."""

    def __init__(self, passwords: Sequence[Password] = ()) -> None:
        self.passwords = list(passwords)
        self.masks = Masks()
        self._opened: dict[bytes, tuple[bytes, Password]] = {}
        self._refused: dict[bytes, int] = {}  # how many passwords have been tried in vain
        self._keys: dict[tuple[bytes, bytes], Keys] = {}
        self._lock = threading.Lock()

    def decrypt(self, ciphertext: str | bytes, mark: Mark | None = None) -> bytes:
        """The clear bytes. VaultError, at `mark`, when no password opens them."""
        return self.open(ciphertext, mark)[0]

    def open(self, ciphertext: str | bytes, mark: Mark | None = None) -> tuple[bytes, Password]:
        """The clear bytes and the password that opened them."""
        sealed = parse(ciphertext, mark)
        name = hashlib.sha256(sealed.salt + sealed.mac + sealed.data).digest()
        with self._lock:
            if name not in self._opened and self._refused.get(name, -1) < len(self.passwords):
                self._try(name, sealed)
            if name in self._opened:
                return self._opened[name]
        raise self._problem(sealed, mark)

    def text(self, ciphertext: str, mark: Mark | None = None) -> str:
        """The clear text, which is a secret from now on. VaultError when it is none."""
        text = self._decoded(ciphertext, mark)
        self.masks.add(text, open_=True)
        return text

    def file(self, ciphertext: str, mark: Mark | None = None) -> str:
        """The clear text of a whole file."""
        return self._decoded(ciphertext, mark)

    def learn(self, content: Any) -> None:
        """What a wholly encrypted file held."""
        self.masks.add_file(content)

    def _decoded(self, ciphertext: str, mark: Mark | None) -> str:
        try:
            return self.decrypt(ciphertext, mark).decode()
        except UnicodeDecodeError:
            raise VaultError("what is encrypted here is no UTF-8 text", mark=mark) from None

    def _try(self, name: bytes, sealed: Sealed) -> None:
        own = [password for password in self.passwords if password.label == sealed.label]
        for password in [*own, *(other for other in self.passwords if other not in own)]:
            key = (password.secret, sealed.salt)
            if key not in self._keys:
                self._keys[key] = derive(*key)
            clear = unseal(sealed, self._keys[key])
            if clear is not None:
                self._opened[name] = (clear, password)
                return
        self._refused[name] = len(self.passwords)

    def _problem(self, sealed: Sealed, mark: Mark | None) -> VaultError:
        known = list(dict.fromkeys(password.label for password in self.passwords))
        under = f" under the vault id '{sealed.label}'" if sealed.label else ""
        if not known:
            message = f"this is encrypted with Ansible Vault{under}, and no vault password was given"
            return VaultError(message, mark=mark, hint=_GIVE)
        tried = f"the password of the vault id '{known[0]}' does not open it"
        if len(self.passwords) > 1:
            tried = f"none of the {len(self.passwords)} passwords opens it (vault ids: {', '.join(known)})"
        return VaultError(f"this is encrypted with Ansible Vault{under}, and {tried}", mark=mark, hint=_GIVE)


_current = Keyring()


def current() -> Keyring:
    """The keyring of this process: one command line, one set of passwords."""
    return _current


def use(keyring: Keyring) -> None:
    global _current
    _current = keyring


def hide(value: Any) -> Any:
    """`value` without the secrets known to this process."""
    return _current.masks.hide(value)


def opened(path: Path) -> bytes | None:
    """The clear bytes of an encrypted file; None when it is not encrypted. VaultError, OSError."""
    if not is_encrypted_file(path):
        return None
    return _current.decrypt(path.read_bytes(), Mark(str(path), 1, 1))


def read(path: Path) -> bytes:
    """The bytes of a file, decrypted where it is encrypted. VaultError, OSError."""
    data = path.read_bytes()
    return _current.decrypt(data, Mark(str(path), 1, 1)) if is_encrypted(data) else data


def masked(event: Event) -> Event:
    """An event as it may be shown and kept."""
    return _current.masks.event(event)
