"""unarchive, git, assemble, find and replace against real files: twice, and in a dry run."""

from __future__ import annotations

import subprocess
import tarfile

import pytest

from labctl.events import Status


@pytest.fixture
def archive(tmp_path):
    top = tmp_path / "pack/top"
    (top / "d").mkdir(parents=True)
    (top / "x").write_text("x\n")
    (top / "d/y").write_text("y\n")
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as packed:
        packed.add(top, "top")
    return path


def test_unarchive_is_predicted_and_steady(task, archive, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    given = {"src": str(archive), "dest": str(out), "remote_src": True}
    assert task("unarchive", **given, check=True).status is Status.CHANGED
    assert list(out.iterdir()) == []
    assert task("unarchive", **given).status is Status.CHANGED
    assert (out / "top/d/y").read_text() == "y\n"
    assert task("unarchive", **given).status is Status.OK
    (out / "top/x").write_text("other\n")
    assert task("unarchive", **given).status is Status.CHANGED
    assert (out / "top/x").read_text() == "x\n"


def test_a_name_that_was_stripped_away_leaves_what_is_around_alone(task, archive, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    tmp_path.chmod(0o755)
    given = {"src": str(archive), "dest": str(out), "remote_src": True, "mode": "u=rwX,go="}
    task("unarchive", **given, extra_opts=["--strip-components=1"], list_files=True)
    assert (out / "x").stat().st_mode & 0o777 == 0o600
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    again = task("unarchive", **given, extra_opts=["--strip-components=1"], list_files=True)
    assert (again.status, again.values["files"]) == (Status.OK, ["x", "d/", "d/y"]) or again.values[
        "files"
    ] == [
        "d/",
        "d/y",
        "x",
    ]


def test_names_that_lead_out_of_an_archive_change_nothing_there(task, tmp_path):
    from labctl.node.functions import archives

    (tmp_path / "in").mkdir()
    (tmp_path / "beside").write_text("")
    (tmp_path / "beside").chmod(0o644)
    wrong = archives.attributes(
        "", str(tmp_path / "in"), ["../beside", "/etc/hostname"], mode="0600", owner=None, group=None
    )
    assert wrong == []
    assert (tmp_path / "beside").stat().st_mode & 0o777 == 0o644


def test_git_costs_one_round_trip_when_steady(task, tmp_path):
    repo = tmp_path / "repo"
    script = (
        f"git init -q -b main {repo} && cd {repo} && git config user.email a@example.org && git config user.name a"
        " && echo 1 > f && git add f && git commit -qm one && git tag v1 && echo 2 > f && git commit -qam two"
    )
    subprocess.run(["/bin/sh", "-c", script], check=True)
    given = {"repo": str(repo), "dest": str(tmp_path / "work")}
    assert task("git", **given, check=True).status is Status.CHANGED
    first = task("git", **given)
    assert (first.status, first.values["before"]) == (Status.CHANGED, None)
    assert task("git", **given).status is Status.OK
    assert task.trips == 1
    back = task("git", **given, version="v1")
    assert (back.status, back.values["before"]) == (Status.CHANGED, first.values["after"])
    (tmp_path / "work/f").write_text("mine")
    assert task("git", **given).status is Status.FAILED
    assert task("git", **given, force=True).status is Status.CHANGED


def test_blockinfile_and_replace(task, tmp_path):
    path = tmp_path / "f"
    path.write_text("a\nb")
    given = {"path": str(path), "block": "x\ny", "insertafter": "^a"}
    assert task("blockinfile", **given, check=True).status is Status.CHANGED
    assert task("blockinfile", **given).status is Status.CHANGED
    text = "a\n# BEGIN ANSIBLE MANAGED BLOCK\nx\ny\n# END ANSIBLE MANAGED BLOCK\nb"
    assert path.read_text() == text
    assert task("blockinfile", **given).status is Status.OK
    assert (
        task("replace", path=str(path), regexp="^(x|y)$", replace=r"<\1>").values["msg"]
        == "2 replacements made"
    )
    assert task("blockinfile", path=str(path), state="absent").status is Status.CHANGED
    assert path.read_text() == "a\nb"
