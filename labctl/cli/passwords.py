"""The passwords a command line gives: of vaults and of become. They are asked for before anything is read."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl import configuration, terminal, vault, yaml
from labctl.errors import UsageError
from labctl.vault import DEFAULT, Keyring, Password, passwords


def unlock(args: argparse.Namespace) -> Keyring:
    """Read or ask for the vault passwords, once for a command line; the process uses them from now on."""
    if getattr(args, "keyring", None) is None:
        keyring = Keyring()
        vault.use(keyring)
        yaml.open_files_with(keyring)
        if hasattr(args, "vault_ids"):
            collect(args, keyring)
        args.keyring = keyring
    found: Keyring = args.keyring
    return found


def collect(
    args: argparse.Namespace,
    keyring: Keyring,
    *,
    new: bool = False,
    needed: bool = False,
    configured: bool = True,
) -> list[Password]:
    """Every password that the command line and (`configured`) environment and ansible.cfg name, added to
    `keyring`. `new`: what is asked for is asked twice. `needed`: ask when there is no other. UsageError."""
    listed = (configuration.current().text("vault_identity_list") or "") if configured else ""
    slugs = [*filter(None, map(str.strip, listed.split(","))), *args.vault_ids]
    files = [*args.vault_password_files, *(_usual_file() if configured else ())]
    slugs += [f"{DEFAULT}@{path}" for path in files]
    for slug in slugs:
        label, source = passwords.split(slug)
        if source in (passwords.PROMPT, "prompt_ask_vault_pass"):
            password = prompted(label or DEFAULT, f" ({label or DEFAULT})", new=new)
        else:
            password = passwords.read(source, label, lambda data: _opened(keyring, data))
        keyring.passwords.append(password)
    if args.ask_vault_pass or (needed and not keyring.passwords):
        keyring.passwords.append(prompted(DEFAULT, "", new=new))
    for password in keyring.passwords:
        keyring.masks.add(password.secret.decode(errors="replace"))
    return keyring.passwords


def _usual_file() -> list[str]:
    if path := os.environ.get("LABCTL_VAULT_PASSWORD_FILE"):
        return [path]
    return [str(path) for path in configuration.current().paths("vault_password_file", "\0")]


def _opened(keyring: Keyring, data: bytes) -> bytes:
    return keyring.decrypt(data) if vault.is_encrypted(data) else data


def prompted(label: str, about: str, *, new: bool = False) -> Password:
    """A password typed at the terminal, or read from stdin where there is none."""
    wanted = f"New vault password{about}: " if new else f"Vault password{about}: "
    secret = ask(wanted).encode()
    if new and ask(f"Confirm new vault password{about}: ").encode() != secret:
        raise UsageError("the passwords do not match")
    return Password(label, passwords.checked(secret, f"typed for '{label}'"))


def ask(prompt: str, *, hidden: bool = True) -> str:
    """One line, not shown as it is typed when `hidden`. UsageError at the end of the input."""
    try:
        if not hidden:
            sys.stderr.write(prompt)
            sys.stderr.flush()
        elif sys.stdin.isatty():
            return terminal.line(prompt, hidden=True).strip()
        line = sys.stdin.readline()
    except EOFError:
        line = ""
    if not line:
        raise UsageError(
            f"nobody answers to '{prompt.strip()}'", hint="this is no terminal, and stdin has ended"
        )
    return line.rstrip("\r\n").strip()


def become_password(args: argparse.Namespace) -> str | None:
    """Of -K or --become-password-file (or where the configuration has them); None when neither is given."""
    said = configuration.current()
    usual = said.paths("become_password_file", "\0")
    path = args.become_password_file or (str(usual[0]) if usual else None)
    if args.ask_become_pass or (said.boolean("ask_become_pass") and not path):
        if not sys.stdin.isatty():
            raise UsageError(
                "-K asks for a password, and this is no terminal", hint="ansible_become_password can hold it"
            )
        secret = terminal.answer("become password: ", hidden=True)
    elif path:
        secret = read_file(args, path, "become password")
    else:
        return None
    vault.current().masks.add(secret)
    return secret


def read_file(args: argparse.Namespace, path: str, what: str) -> str:
    """A password from a file or program, which a vault may encrypt."""
    keyring = unlock(args)
    try:
        return passwords.read(path, None, lambda data: _opened(keyring, data)).secret.decode()
    except UsageError as error:
        error.message = error.message.replace("vault password", what)
        raise


def hide(text: str) -> str:
    """The text without the secrets this command line has learnt."""
    return str(vault.hide(text))


def learn(extra_vars: Mapping[str, Any]) -> None:
    """Extra variables whose names say that they are secret are not shown."""
    vault.current().masks.add_named(extra_vars)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically; an old one's mode and owner are kept, a new one is its owner's alone."""
    import tempfile

    try:
        before = path.stat() if path.exists() else None
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if before is not None:
                os.chmod(name, before.st_mode & 0o7777)
                if os.geteuid() == 0 or (before.st_uid, before.st_gid) != (os.getuid(), os.getgid()):
                    os.chown(name, before.st_uid, before.st_gid)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
