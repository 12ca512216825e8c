"""copy, template, file, stat, fetch, slurp, tempfile: real files, by a real agent."""

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest

from labctl.events import Status
from labctl.node.functions.files import resolve_mode


def mode(path):
    return f"{stat.S_IMODE(os.lstat(path).st_mode):04o}"


def listing(folder):
    """Everything about every file, to show that nothing changed."""
    return {
        str(path): (os.lstat(path).st_mode, os.lstat(path).st_mtime_ns, os.lstat(path).st_ino)
        for path in sorted(folder.rglob("*"))
    }


class TestCopyContent:
    def test_new_changed_steady(self, task, tmp_path):
        path = tmp_path / "motd"
        result = task("copy", content="one\n", dest=str(path), mode="0640")
        assert result.status is Status.CHANGED
        assert path.read_text() == "one\n"
        assert result.values["checksum"] == hashlib.sha1(b"one\n").hexdigest()
        assert (result.values["mode"], result.values["size"], result.values["state"]) == ("0640", 4, "file")
        assert task("copy", content="one\n", dest=str(path), mode="0640").status is Status.OK
        assert task.trips == 1
        assert task("copy", content="two\n", dest=str(path)).status is Status.CHANGED
        assert (path.read_text(), mode(path)) == ("two\n", "0640")

    def test_only_the_mode_differs(self, task, tmp_path):
        path = tmp_path / "file"
        path.write_text("x")
        path.chmod(0o600)
        inode = path.stat().st_ino
        result = task("copy", content="x", dest=str(path), mode="u=rw,g=r,o=r")
        assert (result.status, mode(path), path.stat().st_ino) == (Status.CHANGED, "0644", inode)
        assert result.changes == [f"mode of {path}"]
        assert task("copy", content="x", dest=str(path), mode="u=rw,g=r,o=r").status is Status.OK

    @pytest.mark.parametrize(
        ("given", "expected"),
        [("u=rw,go=", "0600"), ("0600", "0600"), (0o600, "0600"), ("u+x", "0744"), ("a=r", "0444")],
    )
    def test_mode_of_a_new_file(self, task, tmp_path, given, expected):
        path = tmp_path / "file"
        task("copy", content="", dest=str(path), mode=given)
        assert mode(path) == expected

    @pytest.mark.parametrize("given", [644, 777, "rw", "0999", "u=q"])
    def test_a_mode_that_is_none(self, task, tmp_path, given):
        result = task("copy", content="", dest=str(tmp_path / "f"), mode=given)
        assert result.status is Status.FAILED
        assert "mode" in result.values["msg"]
        assert not (tmp_path / "f").exists()

    def test_a_dict_becomes_json(self, task, tmp_path):
        task("copy", content={"a": [1]}, dest=str(tmp_path / "f"))
        assert (tmp_path / "f").read_text() == '{"a": [1]}'

    def test_owner_and_group(self, task, tmp_path):
        path = tmp_path / "file"
        assert task("copy", content="x", dest=str(path), owner="daemon", group="1").status is Status.CHANGED
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (1, 1)
        assert task("copy", content="x", dest=str(path), owner="1", group="daemon").status is Status.OK
        result = task("copy", content="x", dest=str(path), owner="no-such-user")
        assert result.status is Status.FAILED
        assert "no-such-user" in result.values["msg"]

    def test_backup_and_force(self, task, tmp_path):
        path = tmp_path / "file"
        path.write_text("old")
        assert task("copy", content="new", dest=str(path), force=False).status is Status.OK
        result = task("copy", content="new", dest=str(path), backup=True)
        assert Path(result.values["backup_file"]).read_text() == "old"

    def test_dry_run_changes_nothing_and_shows_the_diff(self, task, tmp_path):
        (tmp_path / "file").write_text("old\n")
        before = listing(tmp_path)
        result = task(
            "copy", content="new\n", dest=str(tmp_path / "file"), mode="0600", check=True, diff=True
        )
        assert result.status is Status.CHANGED
        assert (result.diff[0]["before"], result.diff[0]["after"]) == ("old\n", "new\n")
        assert task("copy", content="x", dest=str(tmp_path / "new"), check=True).status is Status.CHANGED
        assert listing(tmp_path) == before

    def test_validate(self, task, tmp_path):
        path = tmp_path / "script"
        path.write_text("true")
        refused = task("copy", content="if", dest=str(path), validate="sh -n %s")
        assert refused.status is Status.FAILED
        assert refused.values["exit_status"] == 2
        assert path.read_text() == "true"
        assert task("copy", content="echo", dest=str(path), validate="sh -n %s").status is Status.CHANGED
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["playbook", "script"]

    def test_a_directory_in_the_way(self, task, tmp_path):
        result = task("copy", content="x", dest=str(tmp_path))
        assert result.status is Status.FAILED
        assert "is a directory" in result.values["msg"]

    def test_a_missing_parent(self, task, tmp_path):
        result = task("copy", content="x", dest=str(tmp_path / "a" / "b"))
        assert result.status is Status.FAILED
        assert "No such file" in result.values["msg"]


class TestCopyFiles:
    @pytest.fixture
    def source(self, task):
        folder = task.folder / "files"
        (folder / "tree" / "sub" / "deep").mkdir(parents=True)
        (folder / "tree" / "a.txt").write_text("a")
        (folder / "tree" / "sub" / "b.sh").write_text("b")
        (folder / "tree" / "sub" / "b.sh").chmod(0o755)
        (folder / "tree" / "link").symlink_to("sub/b.sh")
        (folder / "one").write_text("1")
        return folder

    @pytest.mark.usefixtures("source")
    def test_into_a_directory(self, task, tmp_path):
        assert task("copy", src="one", dest=f"{tmp_path}/new/").status is Status.CHANGED
        assert (tmp_path / "new" / "one").read_text() == "1"
        assert task("copy", src="one", dest=f"{tmp_path}/new/").status is Status.OK
        assert task.trips == 1
        assert task("copy", src="one", dest=f"{tmp_path}/new").status is Status.OK
        assert task("copy", src="one", dest=f"{tmp_path}/other").values["dest"] == f"{tmp_path}/other"

    @pytest.mark.usefixtures("source")
    def test_tree(self, task, tmp_path):
        dest = tmp_path / "dest"
        dest.mkdir()
        assert task("copy", src="tree", dest=str(dest), mode="preserve").status is Status.CHANGED
        assert (dest / "tree" / "a.txt").read_text() == "a"
        assert mode(dest / "tree" / "sub" / "b.sh") == "0755"
        assert (dest / "tree" / "link").read_text() == "b"
        assert (dest / "tree" / "sub" / "deep").is_dir()
        assert task("copy", src="tree", dest=str(dest), mode="preserve").status is Status.OK
        assert task.trips == 1

    def test_what_is_in_a_tree(self, task, source, tmp_path):
        dest = tmp_path / "dest"
        task("copy", src="tree/", dest=str(dest), mode="0600", directory_mode="0700")
        assert (mode(dest), mode(dest / "a.txt"), mode(dest / "sub" / "b.sh")) == ("0700", "0600", "0600")
        (source / "tree" / "a.txt").write_text("A")
        (dest / "stranger").write_text("stays")
        result = task("copy", src="tree/", dest=str(dest), mode="0600", directory_mode="0700")
        assert result.changes == [f"content of {dest}/a.txt"]
        assert (dest / "stranger").exists()

    @pytest.mark.usefixtures("source")
    def test_tree_in_a_dry_run(self, task, tmp_path):
        before = listing(tmp_path)
        result = task("copy", src="tree", dest=f"{tmp_path}/dest", check=True)
        assert (result.status, len(result.changes)) == (Status.CHANGED, 6)
        assert listing(tmp_path) == before

    def test_large_file_is_streamed(self, task, source, tmp_path):
        big = source / "big"
        with big.open("wb") as stream:
            stream.truncate(9 << 20)
        path = tmp_path / "big"
        assert task("copy", src="big", dest=str(path), mode="0600").status is Status.CHANGED
        assert (path.stat().st_size, mode(path)) == (9 << 20, "0600")
        with big.open("r+b") as stream:
            stream.write(b"x")
        result = task("copy", src="big", dest=str(path), backup=True)
        assert os.path.getsize(result.values["backup_file"]) == 9 << 20
        assert task("copy", src="big", dest=str(path)).status is Status.OK

    def test_remote_file(self, task, tmp_path):
        source, path = tmp_path / "source", tmp_path / "copy"
        source.write_text("s")
        given = {"src": str(source), "dest": str(path), "remote_src": True, "mode": "0600"}
        assert task("copy", **given, check=True).status is Status.CHANGED
        assert not path.exists()
        assert task("copy", **given).status is Status.CHANGED
        assert (path.read_text(), mode(path)) == ("s", "0600")
        assert task("copy", **given).status is Status.OK
        assert task.trips == 1
        missing = task("copy", src=f"{tmp_path}/none", dest=str(path), remote_src=True)
        assert (missing.status, "not found" in missing.values["msg"]) == (Status.FAILED, True)

    def test_remote_tree(self, task, source, tmp_path):
        given = {"src": str(source / "tree"), "dest": str(tmp_path / "copy"), "remote_src": True}
        assert task("copy", **given).status is Status.CHANGED
        assert (tmp_path / "copy" / "tree" / "sub" / "b.sh").read_text() == "b"
        assert os.readlink(tmp_path / "copy" / "tree" / "link") == "sub/b.sh"
        assert task("copy", **given).status is Status.OK


class TestTemplate:
    @pytest.fixture
    def templates(self, task):
        folder = task.folder / "templates"
        folder.mkdir()
        return folder

    def test_renders_and_is_steady(self, task, templates, tmp_path):
        (templates / "conf.j2").write_text(
            "# {{ ansible_managed }}\n{% for port in ports %}\nlisten {{ port }}\n{% endfor %}\n"
            '{% include "tail.j2" %}\n'
        )
        (templates / "tail.j2").write_text("to {{ template_destpath }} {{ none }}.")
        task.variables = {"ports": [80, 443], "none": None}
        path = tmp_path / "conf"
        assert task("template", src="conf.j2", dest=str(path), mode="0644").status is Status.CHANGED
        assert path.read_text() == f"# Ansible managed\nlisten 80\nlisten 443\nto {path} .\n"
        assert task("template", src="conf.j2", dest=str(path), mode="0644").status is Status.OK
        assert task.trips == 1

    def test_options(self, task, templates, tmp_path):
        (templates / "a").write_text("  {% if 1 %}\n[[ 1 ]] {{ 2 }}\n  {% endif %}\n")
        given = {"lstrip_blocks": True, "variable_start_string": "[[", "variable_end_string": "]]"}
        task("template", src="a", dest=f"{tmp_path}/a", **given)
        assert (tmp_path / "a").read_text() == "1 {{ 2 }}\n"
        (templates / "b").write_text("#jinja2: trim_blocks: False\n{% if 1 %}\nx{% endif %}\n")
        task("template", src="b", dest=f"{tmp_path}/b")
        assert (tmp_path / "b").read_text() == "\nx\n"

    def test_an_error_names_file_and_line(self, task, templates, tmp_path):
        (templates / "a").write_text("one\ntwo {{ prot }}\n")
        task.variables = {"port": 1}
        result = task("template", src="a", dest=f"{tmp_path}/a")
        assert result.status is Status.FAILED
        assert "'prot' is undefined" in result.values["msg"]
        assert "did you mean 'port'" in result.values["msg"]
        assert (result.mark.file, result.mark.line, result.mark.column) == (str(templates / "a"), 2, 8)
        assert not (tmp_path / "a").exists()

    def test_a_loop_and_a_macro_of_another_file(self, task, templates, tmp_path):
        (templates / "lib.j2").write_text("{% macro row(x) %}<{{ x }}>{% endmacro %}")
        (templates / "a").write_text('{% from "lib.j2" import row %}{{ row(1) }}{{ row("b") }}')
        task("template", src="a", dest=f"{tmp_path}/a")
        assert (tmp_path / "a").read_text() == "<1><b>"


class TestFile:
    def test_directory(self, task, tmp_path):
        path = tmp_path / "a" / "b"
        result = task("file", path=str(path), state="directory", mode="u=rwx,g=rx,o=")
        assert (result.status, mode(path), result.values["mode"]) == (Status.CHANGED, "0750", "0750")
        assert task("file", path=f"{path}/", state="directory", mode="0750").status is Status.OK
        assert task.trips == 1
        assert (
            task("file", path=str(path), state="directory", mode="0700", check=True).status is Status.CHANGED
        )
        assert mode(path) == "0750"
        (tmp_path / "f").touch()
        assert task("file", path=f"{tmp_path}/f", state="directory").status is Status.FAILED

    def test_recurse(self, task, tmp_path):
        root = tmp_path / "root"
        (root / "sub").mkdir(parents=True)
        (root / "sub" / "f").touch()
        (root / "sub" / "f").chmod(0o640)
        (root / "link").symlink_to("/etc/hostname")
        given = {"path": str(root), "state": "directory", "recurse": True, "mode": "u=rwX,g=rX,o="}
        assert task("file", **given, check=True).status is Status.CHANGED
        assert mode(root) == "0755"
        assert task("file", **given).status is Status.CHANGED
        assert (mode(root), mode(root / "sub"), mode(root / "sub" / "f")) == ("0750", "0750", "0640")
        assert task("file", **given).status is Status.OK

    def test_absent(self, task, tmp_path):
        (tmp_path / "d" / "e").mkdir(parents=True)
        assert task("file", path=f"{tmp_path}/d", state="absent", check=True).status is Status.CHANGED
        assert task("file", path=f"{tmp_path}/d", state="absent").status is Status.CHANGED
        assert not (tmp_path / "d").exists()
        assert task("file", path=f"{tmp_path}/d", state="absent").status is Status.OK
        assert task.trips == 1

    def test_link(self, task, tmp_path):
        (tmp_path / "target").write_text("t")
        path = tmp_path / "link"
        assert task("file", path=str(path), src="target", state="link").status is Status.CHANGED
        assert path.read_text() == "t"
        assert task("file", path=str(path), src="target", state="link").status is Status.OK
        assert task("file", path=str(path), src="nowhere", state="link").status is Status.FAILED
        assert task("file", path=str(path), src="nowhere", state="link", force=True).status is Status.CHANGED
        assert os.readlink(path) == "nowhere"
        (tmp_path / "real").write_text("r")
        blocked = task("file", path=f"{tmp_path}/real", src="target", state="link")
        assert (blocked.status, "force" in blocked.values["msg"]) == (Status.FAILED, True)
        assert task("file", path=f"{tmp_path}/real", src="target", state="link", force=True).changed

    def test_hard_link(self, task, tmp_path):
        (tmp_path / "target").write_text("t")
        given = {"path": f"{tmp_path}/hard", "src": f"{tmp_path}/target", "state": "hard"}
        assert task("file", **given).status is Status.CHANGED
        assert os.path.samefile(given["path"], given["src"])
        assert task("file", **given).values["state"] == "hard"
        assert task("file", **given).status is Status.OK

    def test_touch(self, task, tmp_path):
        path = tmp_path / "f"
        assert task("file", path=str(path), state="touch", mode="0600", check=True).status is Status.CHANGED
        assert not path.exists()
        assert task("file", path=str(path), state="touch", mode="0600").status is Status.CHANGED
        assert mode(path) == "0600"
        kept = {"modification_time": "preserve", "access_time": "preserve"}
        assert task("file", path=str(path), state="touch", **kept).status is Status.OK
        given = {"modification_time": "202001020304.05", "access_time": "preserve"}
        task("file", path=str(path), state="touch", **given)
        assert task("stat", path=str(path)).values["stat"]["mtime"] == os.stat(path).st_mtime
        assert task("file", path=str(path), state="touch", **given).status is Status.OK

    def test_attributes_of_what_is_there(self, task, tmp_path):
        assert task("file", path=f"{tmp_path}/none", mode="0600").status is Status.FAILED
        path = tmp_path / "f"
        path.touch()
        assert task("file", path=str(path), mode="g+w", owner="daemon").status is Status.CHANGED
        assert (mode(path), path.stat().st_uid) == ("0664", 1)
        assert task("file", path=str(path), mode="g+w", owner="daemon").status is Status.OK

    def test_a_mount_point_is_not_removed(self, task):
        result = task("file", path="/proc", state="absent")
        assert (result.status, "mount point" in result.values["msg"]) == (Status.FAILED, True)


class TestLooking:
    def test_stat(self, task, tmp_path):
        path = tmp_path / "f"
        path.write_text("abc")
        path.chmod(0o4711)
        (tmp_path / "l").symlink_to("f")
        found = task("stat", path=str(path)).values["stat"]
        assert (found["exists"], found["isreg"], found["mode"], found["isuid"]) == (True, True, "4711", True)
        assert (found["rusr"], found["wgrp"], found["xoth"]) == (True, False, True)
        assert found["checksum"] == hashlib.sha1(b"abc").hexdigest()
        link = task("stat", path=f"{tmp_path}/l").values["stat"]
        assert (link["islnk"], link["lnk_target"], link["lnk_source"]) == (True, "f", str(path))
        sha1 = task("stat", path=f"{tmp_path}/l", follow=True, checksum_algorithm="sha1", check=True)
        assert sha1.values["stat"]["checksum"] == hashlib.sha1(b"abc").hexdigest()
        assert task("stat", path=f"{tmp_path}/none").values["stat"] == {"exists": False}

    def test_slurp(self, task, tmp_path):
        (tmp_path / "f").write_bytes(b"\0\xff")
        values = task("slurp", src=f"{tmp_path}/f", check=True).values
        assert base64.b64decode(values["content"]) == b"\0\xff"
        assert task("slurp", src=f"{tmp_path}/none").status is Status.FAILED

    def test_fetch(self, task, tmp_path):
        source = tmp_path / "source"
        source.write_text("data")
        target = task.folder / "out" / "here" / str(source).lstrip("/")
        assert task("fetch", src=str(source), dest="out", check=True).status is Status.CHANGED
        assert not target.exists()
        result = task("fetch", src=str(source), dest="out")
        assert (result.status, result.values["dest"]) == (Status.CHANGED, str(target))
        assert target.read_text() == "data"
        assert task("fetch", src=str(source), dest="out").status is Status.OK
        assert task.trips == 1
        around = f"{tmp_path}/../../../../../../../../..{source}"
        assert task("fetch", src=around, dest="out").values["dest"] == str(target)
        task("fetch", src=str(source), dest="flat/", flat=True)
        assert (task.folder / "flat" / "source").read_text() == "data"
        missing = f"{tmp_path}/none"
        assert task("fetch", src=missing, dest="out").status is Status.FAILED
        assert task("fetch", src=missing, dest="out", fail_on_missing=False).status is Status.OK
        assert task("fetch", src=str(tmp_path), dest="out").status is Status.FAILED

    def test_tempfile(self, task, tmp_path):
        values = task("tempfile", path=str(tmp_path), suffix=".x", state="directory").values
        assert os.path.isdir(values["path"])
        assert mode(values["path"]) == "0700"
        assert task("tempfile", path=str(tmp_path), check=True).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("text", "current", "directory", "expected"),
    [
        ("0644", 0, False, 0o644),
        ("644", 0, False, 0o644),
        ("0o755", 0, False, 0o755),
        ("1777", 0, True, 0o1777),
        ("u=rw,g=r,o=", 0o777, False, 0o640),
        ("g+w", 0o644, False, 0o664),
        ("a-x", 0o755, False, 0o644),
        ("+x", 0o644, False, 0o755),
        ("=rw", 0o777, False, 0o644),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, False, 0o755),
        ("g=u", 0o640, False, 0o660),
        ("u+s,o+t", 0o755, True, 0o5755),
        ("u+rw-x", 0o100, False, 0o600),
        ("ug=rw,o=r", 0, False, 0o664),
    ],
)
def test_modes_are_those_of_chmod(text, current, directory, expected, tmp_path):
    assert resolve_mode(text, current, directory, 0o022) == expected
    path = tmp_path / "x"
    path.mkdir() if directory else path.touch()
    path.chmod(current)
    if text != "0o755":
        os.system(f"umask 022; chmod -- {text} {path}")
        assert stat.S_IMODE(path.stat().st_mode) == expected
