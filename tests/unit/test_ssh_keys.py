"""Key files, which are taken apart once for all connections."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from labctl.ssh import keys
from labctl.ssh.libraries import paramiko

KINDS = (paramiko.RSAKey, paramiko.ECDSAKey, paramiko.Ed25519Key)


def make_key(path, *options):
    path.unlink(missing_ok=True)
    words = ["ssh-keygen", "-q", "-t", "ed25519", *(options or ("-N", "")), "-f", path]
    subprocess.run([str(word) for word in words], check=True)
    return str(path)


@pytest.fixture
def read(monkeypatch):
    """The kinds that files were read as."""
    kinds = []
    for kind in KINDS:
        original = kind.from_private_key_file

        def counted(*given, kind=kind, original=original):
            kinds.append(kind)
            return original(*given)

        monkeypatch.setattr(kind, "from_private_key_file", counted)
    return kinds


def client():
    made = keys.Client()
    made._transport = SimpleNamespace(_log=lambda *_: None)
    return made


def key_of(name, password=None):
    """As paramiko's own `_auth` looks for it."""
    for kind in KINDS:
        try:
            return client()._key_from_filepath(name, kind, password)
        except paramiko.SSHException:
            continue
    return None


def test_once_for_all_hosts(tmp_path, read):
    name = make_key(tmp_path / "key")
    with ThreadPoolExecutor(20) as pool:
        found = set(pool.map(lambda _: key_of(name), range(40)))
    assert len(found) == 1
    assert read == list(KINDS)


def test_again_when_it_is_another(tmp_path):
    first = key_of(make_key(tmp_path / "key"))
    assert key_of(make_key(tmp_path / "key")) != first


def test_again_when_there_is_a_certificate_for_it(tmp_path):
    name, authority = make_key(tmp_path / "key"), make_key(tmp_path / "authority")
    assert key_of(name).public_blob is None
    subprocess.run(["ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", "root", f"{name}.pub"], check=True)
    assert key_of(name).public_blob is not None


def test_a_locked_one_says_so_each_time_and_opens_by_its_passphrase(tmp_path):
    name = make_key(tmp_path / "key", "-N", "secret")
    for _ in range(2):
        with pytest.raises(paramiko.PasswordRequiredException):
            client()._key_from_filepath(name, paramiko.Ed25519Key, None)
    assert key_of(name, "secret") is not None


def test_none_there(tmp_path):
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            client()._key_from_filepath(str(tmp_path / "none"), paramiko.RSAKey, None)
