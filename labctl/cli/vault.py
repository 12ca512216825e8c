"""`labctl vault`: encrypt, decrypt and change what Ansible Vault protects."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labctl import vault
from labctl.cli import flags, passwords
from labctl.errors import Mark, UsageError, VaultError
from labctl.vault import Keyring, Password

_INDENT = " " * 10


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "vault", help="encrypt and decrypt files and texts, as Ansible Vault does", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))

    def action(name: str, does: str, run: Callable[[argparse.Namespace], None], *aliases: str) -> Any:
        one = actions.add_parser(name, help=does, description=does, aliases=list(aliases))
        one.set_defaults(act=run)
        flags.add_vault(one)
        one.add_argument("-v", "--verbose", action="count", default=0, help=argparse.SUPPRESS)
        return one

    for name, does, run in (
        ("encrypt", "encrypt files, or standard input", _encrypt),
        ("decrypt", "decrypt files, or standard input", _decrypt),
        ("view", "show encrypted files", _view),
        ("edit", "edit encrypted files with $EDITOR", _edit),
        ("create", "make an encrypted file with $EDITOR", _create),
        ("rekey", "encrypt files with another password", _rekey),
    ):
        one = action(name, does, run)
        one.add_argument("files", nargs="*", metavar="FILE")
        if name in ("encrypt", "decrypt"):
            one.add_argument("--output", metavar="FILE", help="write here instead; '-' is standard output")
        if name in ("encrypt", "create", "edit", "rekey"):
            _add_encrypt_id(one)
        if name == "create":
            one.add_argument("--skip-tty-check", action="store_true", help="start the editor anyway")
        if name == "rekey":
            new = one.add_mutually_exclusive_group()
            new.add_argument("--new-vault-id", metavar="LABEL@SOURCE", help="the new password and its id")
            new.add_argument("--new-vault-password-file", metavar="FILE", help="file with the new password")
    text = action("encrypt-string", "encrypt texts for use in YAML", _encrypt_string, "encrypt_string")
    text.add_argument("texts", nargs="*", metavar="TEXT", help="'-' or none: read standard input")
    text.add_argument("-n", "--name", dest="names", action="append", default=[], help="a text's variable")
    text.add_argument("--stdin-name", metavar="NAME", help="the variable of standard input's text")
    text.add_argument("-p", "--prompt", action="store_true", help="ask for the text")
    text.add_argument("--show-input", action="store_true", help="show what is typed")
    text.add_argument("--output", metavar="FILE", help="write here instead of standard output")
    _add_encrypt_id(text)


def _add_encrypt_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encrypt-vault-id", metavar="LABEL", help="which of several passwords encrypts")


def run(args: argparse.Namespace) -> int:
    if getattr(args, "output", None) and len(getattr(args, "files", ())) > 1:
        raise UsageError("--output takes one input file at most")
    args.act(args)
    return 0


# passwords


def _keyring(args: argparse.Namespace, *, new: bool = False) -> Keyring:
    """The passwords to decrypt with (or, `new`, to encrypt with)."""
    keyring = Keyring()
    passwords.collect(args, keyring, new=new, needed=True)
    return keyring


def _to_encrypt(known: list[Password], label: str | None) -> Password:
    """The password that encrypts: the one of `--encrypt-vault-id`, else the only one."""
    label = label or os.environ.get("ANSIBLE_VAULT_ENCRYPT_IDENTITY")
    if label is None:
        if len(known) > 1:
            names = ", ".join(one.label for one in known)
            raise UsageError(f"several passwords could encrypt: {names}", hint="choose by --encrypt-vault-id")
        return known[0]
    found = next((one for one in known if one.label == label), None)
    if found is None:
        names = ", ".join(dict.fromkeys(one.label for one in known))
        raise UsageError(f"no password has the vault id '{label}'", hint=f"there are: {names}")
    return found


# files


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None


def _write(name: str, data: bytes) -> None:
    if name == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        passwords.write_private(Path(os.path.realpath(name)), data)


def _mark(name: str) -> Mark:
    return Mark("<stdin>" if name == "-" else name, 1, 1)


def _sealed(data: bytes, password: Password, name: str) -> bytes:
    if vault.is_encrypted(data):
        raise VaultError(
            "the input is already encrypted", mark=_mark(name), hint="rekey changes its password"
        )
    return vault.encrypt(data, password.secret, password.label).encode()


def _said(text: str) -> None:
    if sys.stdout.isatty():
        sys.stderr.write(f"{text}\n")


def _inputs(args: argparse.Namespace, what: str) -> list[str]:
    if not args.files and sys.stdin.isatty():
        sys.stderr.write(f"Reading {what} input from stdin\n")
    return args.files or ["-"]


def _encrypt(args: argparse.Namespace) -> None:
    password = _to_encrypt(_keyring(args, new=True).passwords, args.encrypt_vault_id)
    for name in _inputs(args, "plaintext"):
        _write(args.output or name, _sealed(_read(name), password, name))
    _said("Encryption successful")


def _decrypt(args: argparse.Namespace) -> None:
    keyring = _keyring(args)
    for name in _inputs(args, "ciphertext"):
        _write(args.output or name, keyring.decrypt(_read(name), _mark(name)))
    _said("Decryption successful")


def _view(args: argparse.Namespace) -> None:
    keyring = _keyring(args)
    for name in args.files or ["-"]:
        _page(keyring.decrypt(_read(name), _mark(name)))


def _page(data: bytes) -> None:
    pager = shlex.split(os.environ.get("PAGER") or "less") if sys.stdout.isatty() else []
    if pager and shutil.which(pager[0]):
        environment = {"LESS": "FRSX", **os.environ}
        subprocess.run(pager, input=data, env=environment, check=False)
    else:
        _write("-", data if data.endswith(b"\n") else data + b"\n")


def _edit(args: argparse.Namespace) -> None:
    keyring = _keyring(args)
    for name in args.files:
        text = _read(name)
        before, password = keyring.open(text, _mark(name))
        after = _edited(before, Path(name).suffix)
        if after != before:
            if args.encrypt_vault_id:
                password = _to_encrypt(keyring.passwords, args.encrypt_vault_id)
            _write(name, vault.encrypt(after, password.secret, password.label).encode())


def _create(args: argparse.Namespace) -> None:
    if len(args.files) != 1:
        raise UsageError("create takes the name of one file")
    path = Path(args.files[0])
    password = _to_encrypt(_keyring(args, new=True).passwords, args.encrypt_vault_id)
    if path.exists():
        raise UsageError(f"{path} exists", hint="change it with edit")
    if not sys.stdout.isatty() and not args.skip_tty_check:
        raise UsageError("this is no terminal, so no editor can be opened", hint="--skip-tty-check opens it")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(str(path), vault.encrypt(_edited(b"", path.suffix), password.secret, password.label).encode())


def _edited(data: bytes, suffix: str) -> bytes:
    """What the user's editor makes of `data`, in a private folder that is removed in any case."""
    editor = shlex.split(os.environ.get("EDITOR") or os.environ.get("VISUAL") or "vi")
    with tempfile.TemporaryDirectory(prefix="labctl-vault-", dir=_private_place()) as folder:
        path = Path(folder) / f"text{suffix}"
        path.touch(mode=0o600)
        path.write_bytes(data)
        try:
            code = subprocess.run([*editor, str(path)], check=False).returncode
        except OSError as error:
            raise UsageError(
                f"the editor '{shlex.join(editor)}' cannot be started: {error.strerror}", hint="set $EDITOR"
            ) from None
        if code:
            raise UsageError(f"the editor '{shlex.join(editor)}' ended with {code}; nothing was written")
        return path.read_bytes()


def _private_place() -> str | None:
    """In memory where there is such a place, so that no disk ever holds the clear text."""
    place = os.environ.get("XDG_RUNTIME_DIR", "")
    return place if place and os.access(place, os.W_OK) else None


def _rekey(args: argparse.Namespace) -> None:
    keyring = _keyring(args)
    given = [args.new_vault_id] if args.new_vault_id else []
    files = [args.new_vault_password_file] if args.new_vault_password_file else []
    wanted = argparse.Namespace(
        vault_ids=given, vault_password_files=files, ask_vault_pass=not given and not files
    )
    if args.encrypt_vault_id and not given and not files:
        password = _to_encrypt(keyring.passwords, args.encrypt_vault_id)
    else:
        fresh = Keyring()
        passwords.collect(wanted, fresh, new=True, configured=False)
        password = _to_encrypt(fresh.passwords, args.encrypt_vault_id)
    for name in args.files or ["-"]:
        clear = keyring.decrypt(_read(name), _mark(name))
        _write(name, vault.encrypt(clear, password.secret, password.label).encode())
    _said("Rekey successful")


# texts


def _encrypt_string(args: argparse.Namespace) -> None:
    texts = [text for text in args.texts if text != "-"]
    from_stdin = "-" in args.texts or args.stdin_name or not (args.texts or args.prompt)
    if args.prompt and from_stdin:
        raise UsageError("--prompt asks for the text, so it cannot be read from standard input too")
    password = _to_encrypt(_keyring(args, new=True).passwords, args.encrypt_vault_id)
    found: list[tuple[str | None, bytes, str]] = []
    if args.prompt:
        name = passwords.ask("Variable name (enter for no name): ", hidden=False)
        typed = passwords.ask("String to encrypt: ", hidden=not args.show_input)
        found.append((name or None, typed.encode(), "the interactive prompt"))
    if from_stdin:
        if sys.stdin.isatty():
            sys.stderr.write("Reading plaintext input from stdin. (ctrl-d to end input)\n")
        found.append((args.stdin_name, sys.stdin.buffer.read(), "stdin"))
    names = [*args.names, *[None] * len(texts)]
    found += [
        (name, text.encode(), "the command line args") for name, text in zip(names, texts, strict=False)
    ]
    if args.names and len(texts) > len(args.names):
        sys.stderr.write("The number of --name options do not match the number of args.\n")
    lines: list[str] = []
    for number, (variable, text, source) in enumerate(found, 1):
        if not text:
            raise UsageError(f"the text from {source} is empty: nothing to encrypt")
        if len(found) > 1:
            which = f'variable ("{variable}", the string #{number}' if variable else f"the string #{number}"
            sys.stderr.write(f"# The encrypted version of {which} from {source}{')' if variable else ''}.\n")
        lines += inline(vault.encrypt(text, password.secret, password.label), variable)
    _write(args.output or "-", ("\n".join(lines) + "\n").encode())
    _said("Encryption successful")


def inline(ciphertext: str, name: str | None) -> list[str]:
    """The lines of a `!vault` text in YAML."""
    head = f"{name}: !vault |" if name else "!vault |"
    return [head, *(_INDENT + line for line in ciphertext.splitlines())]
