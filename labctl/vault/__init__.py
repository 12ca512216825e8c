"""Ansible Vault: its format, the passwords of this command line, and the secrets that must not be shown."""

from labctl.vault.cipher import HEADER, encrypt, is_encrypted, is_encrypted_file
from labctl.vault.keyring import Keyring, current, hide, masked, opened, read, use
from labctl.vault.masks import Flow, Masks
from labctl.vault.passwords import DEFAULT, Password

__all__ = [
    "DEFAULT",
    "HEADER",
    "Flow",
    "Keyring",
    "Masks",
    "Password",
    "current",
    "encrypt",
    "hide",
    "is_encrypted",
    "is_encrypted_file",
    "masked",
    "opened",
    "read",
    "use",
]
