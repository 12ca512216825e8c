"""Which keys a file of known hosts has for a host."""

from __future__ import annotations

import paramiko
import pytest
from paramiko.hostkeys import HostKeyEntry

from labctl.ssh import hostkeys

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICzGZzVrVpea2FNIceUomL0vji6ARLqZ4I2ARB8aWKe6"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHAyBr4KzbZBYeOwubWqc0sIrhWMfYKtTB87z9BGYY0c"


@pytest.fixture
def known(tmp_path):
    def write(*lines: str):
        path = tmp_path / "known_hosts"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def text(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def test_a_name_among_several_and_a_port(known):
    path = known("# mine", "", f"a.example,10.0.0.1 {ED25519} a comment", f"[b.example]:2222\t{OTHER}")
    assert text(hostkeys.known_keys(path, "10.0.0.1")["ssh-ed25519"]) == ED25519
    assert text(hostkeys.known_keys(path, "[b.example]:2222")["ssh-ed25519"]) == OTHER
    assert hostkeys.known_keys(path, "b.example") == {}


def test_a_hashed_name(known):
    path = known(f"{paramiko.HostKeys.hash_host('h.example')} {ED25519}")
    assert text(hostkeys.known_keys(path, "h.example")["ssh-ed25519"]) == ED25519
    assert hostkeys.known_keys(path, "other.example") == {}


def test_the_first_of_a_kind_counts_and_nonsense_says_nothing(known):
    path = known("h.example", "h.example ssh-ed25519 ***", f"h.example {ED25519}", f"h.example {OTHER}")
    assert [text(key) for key in hostkeys.known_keys(path, "h.example").values()] == [ED25519]


def test_what_is_added_is_seen_and_no_file_knows_nobody(known, tmp_path):
    path = known(f"a.example {ED25519}")
    assert hostkeys.known_keys(path, "b.example") == {}
    with path.open("a") as stream:
        stream.write(f"b.example {OTHER}\n")
    assert text(hostkeys.known_keys(path, "b.example")["ssh-ed25519"]) == OTHER
    assert hostkeys.known_keys(tmp_path / "none", "b.example") == {}


def test_only_the_lines_of_the_host_are_taken_apart(known, monkeypatch):
    path = known(*(f"h{number}.example {ED25519}" for number in range(1000)))
    read: list[str] = []
    from_line = HostKeyEntry.from_line
    monkeypatch.setattr(HostKeyEntry, "from_line", lambda line: read.append(line) or from_line(line))
    assert hostkeys.known_keys(path, "h7.example")
    assert read == [f"h7.example {ED25519}"]
