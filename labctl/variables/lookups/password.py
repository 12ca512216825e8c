"""`password`: a random password, kept in a file of the controller."""

from __future__ import annotations

import fcntl
import os
import random
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labctl.errors import VariableError
from labctl.variables.filters.passwords import SCHEMES, password_hash, random_salt
from labctl.variables.lookups.inline import split_options

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope

_DEFAULTS: dict[str, Any] = {
    "length": 20,
    "chars": ("ascii_letters", "digits", ".,:-_"),
    "encrypt": None,
    "ident": None,
    "seed": None,
}


def password(scope: Scope, terms: list[Any], **options: Any) -> list[Any]:
    """The password in the file that the term names; a missing file is made, readable by its owner only.
    `/dev/null` keeps nothing."""
    given = {name: value for name, value in options.items() if name in _DEFAULTS}
    found = []
    for term in terms:
        name, inline = split_options(str(term), _DEFAULTS)
        found.append(_password(_path(scope, name), {**_DEFAULTS, **given, **inline}))
    return found


def _path(scope: Scope, name: str) -> str:
    base = scope.find("playbook_dir")
    name = os.path.expanduser(name)
    return os.path.join(base, name) if isinstance(base, str) else os.path.abspath(name)


def _password(path: str, options: dict[str, Any]) -> str:
    scheme = options["encrypt"]
    if path == "/dev/null":
        text, salt, ident = _random(options), None, options["ident"]
    else:
        with _folder(path):
            text, salt, ident = _kept(path, options)
    return password_hash(text, str(scheme), salt=salt, ident=ident) if scheme else text


def _kept(path: str, options: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """Password, salt and ident of a file; what it lacks is added to it."""
    try:
        with open(path, encoding="utf-8") as stream:
            text, salt, ident = _parts(stream.read().rstrip())
        complete = True
    except FileNotFoundError:
        text, salt, ident, complete = _random(options), None, None, False
    except (OSError, UnicodeDecodeError) as error:
        raise VariableError(f"{path}: {error}") from None
    scheme = SCHEMES.get(str(options["encrypt"])) or SCHEMES.get(f"{options['encrypt']}_crypt")
    if options["encrypt"] and not salt:
        salt, complete = random_salt(scheme.salt_size if scheme else 8), False
    if ident and options["ident"] and ident != options["ident"]:
        raise VariableError(f"{path}: its ident is '{ident}', not '{options['ident']}'")
    if not ident:
        bcrypt = options["encrypt"] in ("bcrypt", "blowfish")
        ident = options["ident"] or ("2b" if bcrypt else None)
        complete = complete and not (bcrypt and ident)
    if not complete:
        _write(path, text + (f" salt={salt}" if salt else "") + (f" ident={ident}" if salt and ident else ""))
    return text, salt, ident


def _parts(content: str) -> tuple[str, str | None, str | None]:
    text, slug, rest = content.rpartition(" salt=")
    if not slug:
        return content, None, None
    salt, slug, ident = rest.rpartition(" ident=")
    return (text, salt, ident) if slug else (text, rest, None)


def _random(options: dict[str, Any]) -> str:
    try:
        length = int(options["length"])
    except (TypeError, ValueError):
        raise VariableError(f"'length' must be a number, not '{options['length']}'") from None
    alphabet = _alphabet(options["chars"])
    if not alphabet:
        raise VariableError("'chars' names no character")
    seed = options["seed"]
    chance = random.SystemRandom() if seed is None else random.Random(str(seed))
    return "".join(chance.choice(alphabet) for _ in range(length))


def _alphabet(chars: Any) -> str:
    """Names of Python's `string` (digits, ascii_letters …) or the characters themselves."""
    specs: Sequence[Any] = chars
    if isinstance(chars, str):
        comma = [","] if ",," in chars else []
        specs = [*comma, *(spec for spec in chars.replace(",,", ",").split(",") if spec)]
    names = {name: value for name, value in vars(string).items() if name.islower() and isinstance(value, str)}
    text = "".join(names.get(str(spec), str(spec)) for spec in specs)
    return text.replace('"', "").replace("'", "")


@contextmanager
def _folder(path: str) -> Iterator[None]:
    """The file's folder, made when missing; one run at a time may look into it and add to it."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise VariableError(f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: str, content: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(handle, 0o600)
            stream.write(content + "\n")
    except OSError as error:
        raise VariableError(f"{path}: {error.strerror}") from None


LOOKUPS: dict[str, Lookup] = {"password": password}
