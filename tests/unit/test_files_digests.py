"""Digests of large files: right, and read once for all hosts while the file stays as it is."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from labctl.files import Content, digests
from labctl.files.content import IN_MEMORY


@pytest.fixture
def readings(monkeypatch):
    """The algorithms of each reading of a file."""
    found = []
    read = digests._read
    monkeypatch.setattr(digests, "_read", lambda path, names: found.append(names) or read(path, names))
    return found


def large(path, byte: bytes, seconds_ago: float):
    path.write_bytes(byte * (IN_MEMORY + 1))
    when = time.time() - seconds_ago
    os.utime(path, (when, when))
    return path


def wait_until_settled(path, monkeypatch):
    """The time of the last change of a file's name or attributes cannot be set: the clock goes on instead."""
    later = os.stat(path).st_ctime_ns + digests._SETTLED + 1
    monkeypatch.setattr(digests.time, "time_ns", lambda: later)


def test_hosts_share_one_reading(tmp_path, monkeypatch, readings):
    path = large(tmp_path / "blob", b"a", 60)
    wait_until_settled(path, monkeypatch)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Content.of(path), range(8)))
    data = path.read_bytes()
    assert {each.checksum for each in found} == {hashlib.sha1(data).hexdigest()}
    assert {each.md5() for each in found} == {hashlib.md5(data).hexdigest()}
    assert readings == [["sha1"], ["md5"]]


def test_both_digests_in_one_reading(tmp_path, readings):
    path = large(tmp_path / "blob", b"b", 0)
    content = Content.of(path, md5=True)
    data = path.read_bytes()
    assert (content.checksum, content.md5()) == (
        hashlib.sha1(data).hexdigest(),
        hashlib.md5(data).hexdigest(),
    )
    assert readings == [["sha1", "md5"]]


def test_a_changed_file_is_read_again(tmp_path, monkeypatch):
    path = large(tmp_path / "blob", b"c", 60)
    wait_until_settled(path, monkeypatch)
    before = Content.of(path).checksum
    info = path.stat()
    path.write_bytes(b"d" * info.st_size)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert Content.of(path).checksum == hashlib.sha1(path.read_bytes()).hexdigest() != before


def test_a_file_that_has_just_changed_is_not_trusted_to_stay(tmp_path, readings):
    path = large(tmp_path / "blob", b"e", 0)
    assert Content.of(path) == Content.of(path)
    assert len(readings) == 2
