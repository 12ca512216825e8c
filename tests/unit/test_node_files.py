"""The file primitives, by a real agent on this machine's file system; and the fake beside it."""

import hashlib
import os
import socket
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from labctl.errors import ConnectionLost, NodeError
from labctl.node.bundle import stub_argv
from labctl.node.client import AgentNode, sha256_of
from labctl.node.fake import FakeNode
from labctl.node.pipes import ProcessPipe


@pytest.fixture(scope="module")
def agent():
    node = AgentNode("here", ProcessPipe(stub_argv(sys.executable)))
    yield node
    node.close()


class Fake(FakeNode):
    """A fake whose paths a test can make on disk: it starts as the image of an empty folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.add_directory(str(folder))


@pytest.fixture(params=["agent", "fake"])
def node(request, tmp_path):
    """What both must do alike."""
    return request.getfixturevalue("agent") if request.param == "agent" else Fake(tmp_path)


def code_of(call, *args, **kwargs) -> str:
    with pytest.raises(NodeError) as info:
        call(*args, **kwargs)
    return info.value.errno_name


class TestAlike:
    def test_write_read_stat(self, node, tmp_path):
        path = str(tmp_path / "file")
        assert node.stat(path) is None
        assert node.write(path, b"one\n") is None
        assert node.read(path) == b"one\n"
        found = node.stat(path, checksum=True)
        assert (found.type, found.mode, found.size, found.owner) == ("file", 0o644, 4, "root")
        assert found.checksum == hashlib.sha1(b"one\n").hexdigest()
        assert found.links == 1

    def test_write_keeps_or_sets_mode_and_owner(self, node, tmp_path):
        path = str(tmp_path / "file")
        node.write(path, b"1", mode=0o600, owner="daemon", group="33")
        node.write(path, b"2")
        found = node.stat(path)
        assert (found.mode, found.owner, found.gid) == (0o600, "daemon", 33)
        node.write(path, b"3", mode=0o4755, owner="root")
        found = node.stat(path)
        assert (found.mode, found.owner, found.group) == (0o4755, "root", "www-data")

    def test_backup(self, node, tmp_path):
        path = str(tmp_path / "file")
        assert node.write(path, b"new", backup=True) is None
        kept = node.write(path, b"newer", backup=True)
        assert kept.startswith(path + ".")
        assert node.read(kept) == b"new"
        assert node.read(path) == b"newer"

    def test_errors_by_name(self, node, tmp_path):
        folder = str(tmp_path)
        assert code_of(node.read, folder + "/no") == "ENOENT"
        assert code_of(node.read, folder) == "EISDIR"
        assert code_of(node.write, folder, b"") == "EISDIR"
        assert code_of(node.write, folder + "/no/file", b"") == "ENOENT"
        assert code_of(node.write, folder + "/file", b"", owner="nobody-of-that-name") == "EINVAL"
        assert code_of(node.chmod, folder + "/no", 0o600) == "ENOENT"
        assert code_of(node.list, folder + "/no") == "ENOENT"
        node.write(folder + "/file", b"12345")
        assert code_of(node.read, folder + "/file", limit=4) == "EFBIG"
        assert node.read(folder + "/file", limit=5) == b"12345"
        assert code_of(node.mkdir, folder + "/file") == "EEXIST"
        assert code_of(node.mkdir, folder + "/a/b", parents=False) == "ENOENT"
        assert code_of(node.list, folder + "/file") == "ENOTDIR"

    def test_error_names_the_path(self, node, tmp_path):
        with pytest.raises(NodeError) as info:
            node.read(str(tmp_path / "no"))
        assert info.value.path == str(tmp_path / "no")
        assert str(info.value) == f"{tmp_path}/no: No such file or directory"

    def test_directories(self, node, tmp_path):
        path = str(tmp_path / "a" / "b")
        assert node.mkdir(path, mode=0o750)
        assert not node.mkdir(path, mode=0o700)
        assert node.stat(path).mode == 0o750
        node.write(path + "/z", b"")
        node.write(path + "/y", b"")
        assert [one.path for one in node.list(path)] == [path + "/y", path + "/z"]
        assert node.remove(str(tmp_path / "a"))
        assert not node.remove(str(tmp_path / "a"))
        assert node.stat(path) is None

    def test_links(self, node, tmp_path):
        target, path = str(tmp_path / "target"), str(tmp_path / "link")
        node.write(target, b"x", mode=0o640)
        node.link(target, path)
        found = node.stat(path)
        assert (found.type, found.target) == ("link", target)
        assert node.stat(path, follow=True).type == "file"
        node.write(path, b"through")
        assert node.stat(path).type == "link"
        assert node.read(target) == b"through"
        assert node.stat(target).mode == 0o640
        node.link("elsewhere", path)
        assert node.stat(path).target == "elsewhere"
        assert node.stat(path, follow=True) is None
        assert node.remove(path)
        assert node.read(target) == b"through"

    def test_hard_links(self, node, tmp_path):
        target, path = str(tmp_path / "target"), str(tmp_path / "link")
        node.write(target, b"x")
        node.link(target, path, hard=True)
        node.link(target, path, hard=True)
        assert node.stat(path).inode == node.stat(target).inode
        assert node.stat(path).links == 2
        assert len(node.list(str(tmp_path))) == 2

    def test_link_over_a_directory_is_refused(self, node, tmp_path):
        node.mkdir(str(tmp_path / "dir"))
        assert code_of(node.link, "x", str(tmp_path / "dir")) == "EISDIR"
        assert len(node.list(str(tmp_path))) == 1

    def test_chmod_and_chown(self, node, tmp_path):
        path, link = str(tmp_path / "file"), str(tmp_path / "link")
        node.write(path, b"")
        node.link(path, link)
        node.chmod(link, 0o600)
        node.chmod(link, 0o777, follow=False)
        assert node.stat(path).mode == 0o600
        node.chown(link, owner="daemon", follow=False)
        assert (node.stat(path).owner, node.stat(link).owner) == ("root", "daemon")
        node.chown(link, group="daemon")
        assert (node.stat(path).owner, node.stat(path).group) == ("root", "daemon")

    def test_put_and_get(self, node, tmp_path):
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(b"content")
        node.put(source, str(tmp_path / "there"), mode=0o600)
        assert node.stat(str(tmp_path / "there")).mode == 0o600
        node.get(str(tmp_path / "there"), back)
        assert back.read_bytes() == b"content"


class TestAgent:
    def test_names_that_are_not_utf8(self, agent, tmp_path):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \n")
        agent.write(path, b"x")
        assert [one.path for one in agent.list(str(tmp_path))] == [path]
        assert agent.read(path) == b"x"

    def test_types(self, agent, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "socket"))
            assert agent.stat(str(tmp_path / "socket")).type == "socket"
        assert agent.stat(str(tmp_path / "fifo")).type == "fifo"
        assert agent.stat("/dev/null").type == "char"
        assert agent.stat("/").type == "directory"

    def test_owner_names_follow_the_user_database(self, agent, tmp_path):
        (tmp_path / "file").touch()
        os.chown(tmp_path / "file", 4_000_001, 4_000_002)
        found = agent.stat(str(tmp_path / "file"))
        assert (found.owner, found.group) == ("4000001", "4000002")

    def test_mode_is_right_from_the_first_byte(self, agent, tmp_path):
        """A watcher of the folder sees no state of the file but the old and the new."""
        path, stop = tmp_path / "secret", tmp_path / "stop"
        watcher = (
            "import os, sys\nfolder, stop = sys.argv[1:]\nseen = set()\nprint('ready', flush=True)\n"
            "while not os.path.exists(stop):\n"
            "    for name in os.listdir(folder):\n"
            "        try:\n            info = os.stat(folder + '/' + name)\n"
            "        except OSError:\n            continue\n"
            "        if info.st_size:\n            seen.add(oct(info.st_mode & 0o777))\n"
            "print(sorted(seen))\n"
        )
        folder = tmp_path / "folder"
        folder.mkdir()
        path = folder / "secret"
        with subprocess.Popen(
            [sys.executable, "-c", watcher, str(folder), str(stop)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout.readline() == "ready\n"
            for _ in range(20):
                agent.write(str(path), os.urandom(1 << 20), mode=0o600)
                agent.remove(str(path))
            agent.write(str(path), b"last", mode=0o600)
            stop.touch()
            assert process.stdout.read() == "['0o600']\n"

    def test_large_files_travel_with_little_memory(self, agent, tmp_path):
        source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
        with source.open("wb") as stream:
            for _ in range(64):
                stream.write(os.urandom(1 << 20))
        before = agent.round_trips
        tracemalloc.start()
        try:
            agent.put(source, str(there))
            assert sha256_of(there) == sha256_of(source)
            agent.get(str(there), back)
            assert sha256_of(back) == sha256_of(source)
            assert tracemalloc.get_traced_memory()[1] < 24 << 20
        finally:
            tracemalloc.stop()
        assert agent.round_trips == before + 2
        status = Path(f"/proc/{agent.hello['pid']}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) < 64 << 10

    def test_failed_transfers_leave_nothing(self, agent, tmp_path):
        source = tmp_path / "source"
        source.write_bytes(os.urandom(9 << 20))
        assert code_of(agent.put, source, str(tmp_path / "no" / "file")) == "ENOENT"
        assert code_of(agent.get, str(tmp_path / "no"), tmp_path / "back") == "ENOENT"
        assert sorted(os.listdir(tmp_path)) == ["source"]
        assert agent.stat(str(source)).size == 9 << 20

    def test_a_put_cut_short_leaves_the_old_file(self, tmp_path):
        node = AgentNode("here", ProcessPipe(stub_argv(sys.executable)))
        there = tmp_path / "there"
        there.write_bytes(b"old")
        source = tmp_path / "source"
        os.mkfifo(source)

        def feed():
            with source.open("wb") as stream:
                stream.write(b"x" * (1 << 20))
                node.close()

        import threading

        thread = threading.Thread(target=feed)
        thread.start()
        with pytest.raises(ConnectionLost):
            node.put(source, str(there))
        thread.join()
        assert there.read_bytes() == b"old"
        assert sorted(os.listdir(tmp_path)) == ["source", "there"]

    def test_full_disk(self, agent, tmp_path):
        """ENOSPC leaves the old file as it was and no temporary, by write and by put."""
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "labctl-test", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this machine does not let us mount a tmpfs")
        try:
            path, source = disk / "file", tmp_path / "source"
            path.write_bytes(b"old")
            source.write_bytes(bytes(2 << 20))
            assert code_of(agent.write, str(path), bytes(2 << 20)) == "ENOSPC"
            assert code_of(agent.put, source, str(path)) == "ENOSPC"
            assert os.listdir(disk) == ["file"]
            assert path.read_bytes() == b"old"
            agent.write(str(path), b"fits")
            assert path.read_bytes() == b"fits"
        finally:
            subprocess.run(["umount", str(disk)], check=True)

    def test_remove_stops_at_a_mount_point(self, agent, tmp_path):
        tree, other = tmp_path / "tree", tmp_path / "other"
        (tree / "a b" / "mounted").mkdir(parents=True)
        (tree / "file").touch()
        other.mkdir()
        (other / "precious").touch()
        mounted = str(tree / "a b" / "mounted")
        if subprocess.run(
            ["mount", "--bind", str(other), mounted], capture_output=True, check=False
        ).returncode:
            pytest.skip("this machine does not let us mount")
        try:
            assert code_of(agent.remove, str(tree)) == "EBUSY"
            assert code_of(agent.remove, mounted) == "EBUSY"
            assert (tree / "file").exists()
        finally:
            subprocess.run(["umount", mounted], check=True)
        assert agent.remove(str(tree))
        assert (other / "precious").exists()

    def test_remove_does_not_follow_links(self, agent, tmp_path):
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / "file").touch()
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree" / "link").symlink_to(tmp_path / "kept")
        assert agent.remove(str(tmp_path / "tree"))
        assert (tmp_path / "kept" / "file").exists()

    def test_remove_through_a_link_to_a_folder(self, agent, tmp_path):
        (tmp_path / "real" / "x").mkdir(parents=True)
        (tmp_path / "link").symlink_to("real")
        assert agent.remove(str(tmp_path / "link" / "x"))
        assert not (tmp_path / "real" / "x").exists()

    def test_write_keeps_an_access_list(self, agent, tmp_path):
        path = tmp_path / "file"
        path.touch(0o640)
        listed = bytes.fromhex(
            "02000000010006 00ffffffff 02000600 21000000 04000400ffffffff 10000600ffffffff 20000000ffffffff"
        )
        try:
            os.setxattr(path, "system.posix_acl_access", listed)
        except OSError:
            pytest.skip("this file system keeps no access lists")
        agent.write(str(path), b"new")
        assert os.getxattr(path, "system.posix_acl_access") == listed

    def test_new_files_obey_the_umask(self, agent, tmp_path):
        agent.write(str(tmp_path / "file"), b"")
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask

    def test_one_round_trip_each(self, agent, tmp_path):
        path = str(tmp_path / "file")
        before = agent.round_trips
        agent.write(path, b"x", mode=0o600, owner="daemon", backup=True)
        agent.stat(path, checksum=True)
        agent.read(path)
        agent.mkdir(path + ".d/a/b")
        agent.list(str(tmp_path))
        agent.link(path, path + ".link")
        agent.remove(path)
        assert agent.round_trips == before + 7


class TestFake:
    def test_scripted_commands(self):
        node = FakeNode()
        node.on(lambda argv: argv[0] == "ls", rc=2, stderr=b"none")
        node.on(["ls", "/"], stdout=b"etc\n", effect=lambda: node.add_file("/made"))
        seen = []
        assert node.run(["ls", "/"], output=lambda *piece: seen.append(piece)).text() == "etc\n"
        assert seen == [("stdout", "etc\n")]
        assert node.stat("/made") is not None
        assert node.run(["ls", "/other"]).rc == 2
        assert node.run(["ls", "/other"], creates="/ma*").skipped == "/ma* exists"
        with pytest.raises(AssertionError, match="nobody scripted"):
            node.run(["rm"])
        assert node.ops() == ["run", "stat", "run", "run", "run"]
        assert node.round_trips == 5

    def test_calls_programs_and_failures(self):
        node, lines = FakeNode(), []
        node.on_call("users", "find", lambda name: {"uid": len(name)})
        assert node.call("users", "find", name="abc") == {"uid": 3}
        node.on_start("cgroup", ["one", "two"])
        stream = node.start(b"", ["-x"], line=lines.append, name="cgroup")
        assert stream.running
        assert stream.stop().rc == 0
        assert not stream.running
        assert lines == ["one", "two"]
        node.fail("write", "ENOSPC", "/etc/full")
        assert code_of(node.write, "/etc/full", b"") == "ENOSPC"
        node.write("/etc/other", b"")

    def test_mount_points_are_not_removed(self):
        node = FakeNode()
        node.add_directory("/srv/data/disk")
        node.mount_points.add("/srv/data/disk")
        assert code_of(node.remove, "/srv/data") == "EBUSY"
        assert node.stat("/srv/data/disk") is not None
