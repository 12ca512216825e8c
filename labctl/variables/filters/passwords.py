"""`password_hash`: crypt(3) hashes, by the system's libcrypt."""

from __future__ import annotations

import random
import re
import string
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from labctl.errors import VariableError, did_you_mean
from labctl.records import dataclass

_ALPHABET = string.ascii_letters + string.digits + "./"
_BCRYPT = "./" + string.ascii_uppercase + string.ascii_lowercase + string.digits
_BCRYPT_SALT = 22


@dataclass(frozen=True)
class Scheme:
    """`rounds` is the cost when none is asked for; None for a scheme without one."""

    ident: str
    salt_size: int
    rounds: int | None = None
    implicit: int | None = None  # the number of rounds that a hash does not mention


SCHEMES = {
    "md5_crypt": Scheme("1", 8),
    "sha256_crypt": Scheme("5", 16, 535000, 5000),
    "sha512_crypt": Scheme("6", 16, 656000, 5000),
    "bcrypt": Scheme("2b", _BCRYPT_SALT, 12),
}
_NAMES = {"md5": "md5_crypt", "blowfish": "bcrypt", "sha256": "sha256_crypt", "sha512": "sha512_crypt"}
KNOWN = (*_NAMES, *SCHEMES)
_IDENTS = ("2", "2a", "2b", "2y")
_LOCK = threading.Lock()  # crypt() answers in one static buffer


def password_hash(  # noqa: PLR0917 - Ansible's positions
    password: Any,
    hashtype: str = "sha512",
    salt: str | None = None,
    salt_size: int | None = None,
    rounds: int | None = None,
    ident: str | None = None,
) -> str:
    """The crypt(3) hash of a password. The same `salt` and `rounds` give the same hash; without a salt
    each call gives another."""
    name = _NAMES.get(hashtype, hashtype)
    if name not in SCHEMES:
        hint = did_you_mean(hashtype, KNOWN) or ", ".join(_NAMES)
        raise VariableError(f"password_hash: there is no scheme '{hashtype}'", hint=hint)
    if not isinstance(password, str | int | float) or isinstance(password, bool):
        raise VariableError(f"password_hash: needs a string, not {type(password).__name__}")
    scheme = SCHEMES[name]
    if salt_size is not None and (not isinstance(salt_size, int) or not 0 < salt_size <= scheme.salt_size):
        raise VariableError(f"password_hash: salt_size must be a number from 1 to {scheme.salt_size}")
    chosen = random_salt(salt_size or scheme.salt_size) if not salt else str(salt)
    setting = _setting(name, scheme, chosen, rounds, ident)
    found = _crypt(str(password).encode(), setting.encode())
    if not found.startswith("$"):
        raise VariableError(f"password_hash: this system's libcrypt has no {name}")
    return found


def random_salt(length: int) -> str:
    chance = random.SystemRandom()
    return "".join(chance.choice(_ALPHABET) for _ in range(length))


def _setting(name: str, scheme: Scheme, salt: str, rounds: int | None, ident: str | None) -> str:
    size = scheme.salt_size
    exact = name == "bcrypt"
    if not re.fullmatch(r"[./0-9A-Za-z]+", salt) or len(salt) > size or (exact and len(salt) != size):
        wanted = f"{'' if exact else 'at most '}{size}"
        raise VariableError(f"password_hash: a salt of {name} is {wanted} letters, digits, '.' and '/'")
    if name == "bcrypt":
        kind = ident or scheme.ident
        if kind not in _IDENTS:
            raise VariableError(f"password_hash: unknown ident '{kind}'", hint=", ".join(_IDENTS))
        # The last character of such a salt carries two bits; the others must be zero.
        last = _BCRYPT[_BCRYPT.index(salt[-1]) & 0b110000]
        return f"${kind}${int(rounds or scheme.rounds or 0):02d}${salt[:-1]}{last}"
    count = rounds or scheme.rounds
    cost = f"rounds={int(count)}$" if count and count != scheme.implicit else ""
    return f"${scheme.ident}${cost}{salt}$"


@cache
def _library() -> Any:
    import ctypes

    for name in ("libcrypt.so.1", "libcrypt.so.2", "libcrypt.so"):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.crypt.restype = ctypes.c_char_p
        library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        return library
    return None


def _crypt(password: bytes, setting: bytes) -> str:
    library = _library()
    if library is None:
        raise VariableError("password_hash: this machine has no libcrypt", hint="Debian's package: libcrypt1")
    if b"\0" in password:
        raise VariableError("password_hash: a password cannot hold a NUL character")
    with _LOCK:
        found: bytes | None = library.crypt(password, setting)
    return (found or b"*").decode()


FILTERS: dict[str, Callable[..., Any]] = {"password_hash": password_hash}
