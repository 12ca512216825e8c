"""The file of a user's authorized keys."""

from __future__ import annotations

import os
import pwd
import ssl
import tempfile
import urllib.request
from typing import Any, Dict, Optional
from urllib.parse import urlsplit


def look(user: str, path: Optional[str], key: str, follow: bool, validate_certs: bool) -> Dict[str, Any]:
    """{"home", "keyfile", "text": its content or None, "key": the keys' text, "problem": or None}."""
    answer: Dict[str, Any] = {"home": None, "keyfile": None, "text": None, "key": key, "problem": None}
    try:
        answer["home"] = pwd.getpwnam(user).pw_dir
    except KeyError:
        answer["problem"] = "Failed to lookup user %s: there is no such user" % user
        if path is None:
            return answer
    keyfile = os.path.expanduser(path) if path else os.path.join(answer["home"], ".ssh", "authorized_keys")
    answer["keyfile"] = os.path.realpath(keyfile) if follow else keyfile
    try:
        with open(answer["keyfile"], errors="surrogateescape") as stream:
            answer["text"] = stream.read()
    except FileNotFoundError:
        pass
    except OSError as error:
        answer["problem"] = "cannot read %s: %s" % (answer["keyfile"], error.strerror)
    try:
        answer["key"] = _source(key, validate_certs)
    except (OSError, ValueError) as error:
        answer["problem"] = "Error getting key from: %s: %s" % (key, error)
    return answer


def _source(key: str, validate_certs: bool) -> str:
    if key.startswith(("http://", "https://")):
        context = ssl.create_default_context()
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        with urllib.request.urlopen(key, timeout=10, context=context) as answer:
            return str(answer.read(), "utf-8", "surrogateescape")
    if key.startswith("file:"):
        with open(urlsplit(key).path, errors="surrogateescape") as stream:
            return stream.read()
    return key


def keep(user: str, path: str, text: str, manage_dir: bool, follow: bool) -> None:
    """Replace the file, the user's own and for nobody else; OSError by whoever may not."""
    entry = pwd.getpwnam(user)
    folder = os.path.dirname(path)
    if manage_dir:
        if not os.path.isdir(folder):
            os.mkdir(folder, 0o700)
        os.chown(folder, entry.pw_uid, entry.pw_gid, follow_symlinks=follow)
        os.chmod(folder, 0o700)
    elif not os.path.isdir(folder):
        os.makedirs(folder)
    number, temporary = tempfile.mkstemp(dir=folder, prefix=".authorized_keys.")
    try:
        with os.fdopen(number, "w", errors="surrogateescape") as stream:
            stream.write(text)
        os.chmod(temporary, 0o600)
        os.chown(temporary, entry.pw_uid, entry.pw_gid)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
