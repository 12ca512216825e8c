"""lineinfile: each expectation is what ansible-core's module makes of the same file."""

import pytest

from labctl.events import Status

BEFORE = "a\nb1\nb2\nc"


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ({"line": "z"}, "a\nb1\nb2\nc\nz\n"),
        ({"line": "z", "insertafter": "^b"}, "a\nb1\nb2\nz\nc"),
        ({"line": "z", "insertbefore": "^b"}, "a\nb1\nz\nb2\nc"),
        ({"line": "z", "insertbefore": "BOF"}, "z\na\nb1\nb2\nc"),
        ({"line": "z", "insertbefore": "^b", "firstmatch": True}, "a\nz\nb1\nb2\nc"),
        ({"line": "z", "insertafter": "nomatch"}, "a\nb1\nb2\nc\nz\n"),
        ({"line": "c", "regexp": "^b"}, "a\nb1\nc\nc"),
        ({"line": "c", "regexp": "^b", "firstmatch": True}, "a\nc\nb2\nc"),
        ({"line": "x\\1", "regexp": "^b(.)", "backrefs": True}, "a\nb1\nx2\nc"),
        ({"line": "x\\1", "regexp": "^q(.)", "backrefs": True}, None),
        ({"line": "b2", "regexp": "^q", "insertafter": "^a"}, None),
        ({"line": "b2", "insertafter": "^a"}, None),
        ({"regexp": "^b", "state": "absent"}, "a\nc"),
        ({"line": "b2", "state": "absent"}, "a\nb1\nc"),
        ({"search_string": "1", "state": "absent"}, "a\nb2\nc"),
        ({"line": "w", "search_string": "1"}, "a\nw\nb2\nc"),
        ({"line": "z", "insertbefore": "^q"}, "a\nb1\nb2\nc\nz\n"),
        ({"line": "b1", "insertbefore": "^b2"}, None),
    ],
    ids=str,
)
def test_as_ansible_does(task, tmp_path, given, after):
    path = tmp_path / "f"
    path.write_text(BEFORE)
    path.chmod(0o640)
    dry = task("lineinfile", path=str(path), **given, check=True, diff=True)
    assert path.read_text() == BEFORE
    result = task("lineinfile", path=str(path), **given)
    assert result.status is dry.status is (Status.OK if after is None else Status.CHANGED)
    assert path.read_text() == (after or BEFORE)
    assert path.stat().st_mode & 0o777 == 0o640
    if after is not None:
        assert (dry.diff[0]["before"], dry.diff[0]["after"]) == (BEFORE, after)
    if not given.get("regexp") or after is None or given.get("state") == "absent":
        # what replaced a line by one that does not match any more is not steady in Ansible either
        assert task("lineinfile", path=str(path), **given).status is Status.OK
        assert task.trips == 1


def test_found_message_backup_and_attributes(task, tmp_path):
    path = tmp_path / "f"
    path.write_text("x\nx\ny\n")
    result = task("lineinfile", path=str(path), line="x", state="absent", backup=True, mode="0600")
    assert (result.values["found"], result.values["msg"]) == (
        2,
        "2 line(s) removed and ownership, perms or SE linux context changed",
    )
    assert result.values["backup"].startswith(str(path))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_missing_file(task, tmp_path):
    path = tmp_path / "f"
    assert task("lineinfile", path=str(path), line="x").status is Status.FAILED
    assert task("lineinfile", path=str(path), line="x", state="absent").status is Status.OK
    assert task("lineinfile", path=str(path), line="x", create=True, mode="0600").status is Status.CHANGED
    assert path.read_text() == "x\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_bytes_that_are_no_text_survive(task, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"\xff\xfe\r\nkey=1\r\n")
    task("lineinfile", path=str(path), regexp="^key=", line="key=2")
    assert path.read_bytes() == b"\xff\xfe\r\nkey=2\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"state": "present"}, "line is required with state=present"),
        ({"state": "absent"}, "one of line, search_string, or regexp is required"),
        ({"line": "x", "backrefs": True}, "regexp is required"),
        ({"line": "x", "regexp": "("}, "not a regular expression"),
        ({"line": "x", "validate": "false %s"}, "failed to validate"),
    ],
)
def test_refusals(task, tmp_path, given, said):
    path = tmp_path / "f"
    path.write_text("a\n")
    result = task("lineinfile", path=str(path), **given)
    assert result.status is Status.FAILED
    assert said in result.values["msg"]
    assert path.read_text() == "a\n"
