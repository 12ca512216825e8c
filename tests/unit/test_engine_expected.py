"""What a dry run would have changed, and which later looks depend on it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from labctl.engine import results
from labctl.engine.expected import Expected
from labctl.engine.looks import Looks, WatchedNode
from labctl.engine.results import Result
from labctl.events import Status
from labctl.node.fake import FakeNode
from labctl.task_types import Args, arg


@dataclass(kw_only=True)
class Given(Args):
    text: str = arg("", doc="anything")
    state: str | None = arg(None, doc="as in 'file'")
    recurse: bool = arg(False, doc="as in 'file'")


CHANGED, OK, FAILED = Status.CHANGED, Status.OK, Status.FAILED


class Dry:
    """A dry run on one machine."""

    def __init__(self):
        self.expected = Expected()

    def task(
        self, name, *paths, status=CHANGED, absent=(), names=(), deep=False, text="", state=None, **values
    ):
        looks = Looks()
        for path in paths:
            looks.path(path, deep=deep)
        for path in absent:
            looks.path(path, absent=True)
        looks.names |= set(names)
        result = Result(status, {"changed": status is CHANGED, "msg": "no", **values})
        if status is Status.UNKNOWN:
            result = results.unknown("it is not run")
        return self.expected.judge("m", name, Given(text=text, state=state), looks, result)


@pytest.fixture
def dry():
    return Dry()


def test_the_same_path_is_unknown_and_says_why(dry):
    assert dry.task("write", "/etc/x", dest="/etc/x").status is CHANGED
    found = dry.task("again", "/etc/x", status=OK)
    assert found.is_unknown
    assert found.unknown == "/etc/x is what 'write' would change, and this dry run has not"


def test_unrelated_paths_stay_exact(dry):
    dry.task("write", "/etc", "/etc/x", dest="/etc/x")
    assert dry.task("other", "/etc", "/etc/y", dest="/etc/y").status is CHANGED
    assert dry.task("look", "/etc/xy", status=OK).status is OK


def test_unchanged_tasks_leave_nothing(dry):
    dry.task("write", "/etc/x", status=OK, dest="/etc/x")
    assert dry.task("again", "/etc/x", status=OK).status is OK


def test_below_a_new_directory_nothing_is_there_yet(dry):
    looks = Looks()
    looks.path("/d/e", absent=True)
    made = Result(CHANGED, {"changed": True, "path": "/d/e", "state": "directory"})
    dry.expected.judge("m", "folder", Given(state="directory"), looks, made)
    assert dry.task("inside", absent=["/d/e/f"], dest="/d/e/f").status is CHANGED
    assert dry.task("parent", absent=["/d"], status=OK).is_unknown
    assert dry.task("parent that is there", "/", status=OK).status is OK
    assert dry.task("needs it", absent=["/d/e/g"], status=FAILED).is_unknown


def test_below_an_unpacked_tree_anything_may_be(dry):
    dry.task("unpack", "/opt/app", dest="/opt/app")
    assert dry.task("inside", absent=["/opt/app/bin"], status=OK).is_unknown


def test_a_walk_above_what_would_change_is_unknown(dry):
    dry.task("write", "/etc/d/x", dest="/etc/d/x")
    assert dry.task("stat", "/etc/d", status=OK).status is OK
    assert dry.task("find", "/etc", status=OK, deep=True).is_unknown


def test_unknown_spreads_to_what_looks_at_the_same(dry):
    dry.task("write", "/a", dest="/a")
    dry.task("reads a, writes b", "/a", "/b", dest="/b")
    assert dry.task("reads b", "/b", status=OK).is_unknown


def test_failure_is_unknown_only_where_an_earlier_change_may_explain_it(dry):
    dry.task("write", "/etc/x", dest="/etc/x")
    assert dry.task("elsewhere", absent=["/srv/y"], status=FAILED).failed
    assert dry.task("nothing seen", status=FAILED).failed
    dry.task("install", names=[("packages", "nginx")])
    found = dry.task("start", names=[("services", "nginx")], status=FAILED)
    assert "it fails as things are (no), but 'install' would change this host before" in found.unknown


def test_failure_names_the_task_that_is_about_what_it_needs_before_one_nearby(dry):
    dry.task("write b", "/etc/d/b", dest="/etc/d/b")
    dry.task("write a", "/etc/d/a", dest="/etc/d/a")
    found = dry.task("read b", absent=["/etc/d/b"], status=FAILED)
    assert found.unknown.endswith("but 'write b' would change this host before")
    beside = dry.task("read c", absent=["/etc/d/c"], status=FAILED)
    assert beside.unknown.endswith("but 'write a' would change this host before")


def test_failure_of_what_is_carried_out_names_the_task_its_text_is_about(dry):
    dry.task("write b", "/etc/d/b", dest="/etc/d/b")
    dry.task("write a", "/etc/d/a", dest="/etc/d/a")
    for path, cause in (("/etc/d/b", "write b"), ("/srv/c", "write a")):
        failed = Result(FAILED, {"msg": "no such file"})
        found = dry.expected.carried_out("m", Given(text=f"cat {path}"), Looks(), failed)
        assert f"but '{cause}' would change" in found.unknown


def test_package_is_related_to_itself_its_files_and_absent_system_files(dry):
    dry.task("install", names=[("packages", "nginx")])
    assert dry.task("upgrade", names=[("packages", "nginx")]).is_unknown
    assert dry.task("another", names=[("packages", "curl")]).status is CHANGED
    assert dry.task("its file", absent=["/etc/nginx/nginx.conf"], dest="/etc/nginx/nginx.conf").is_unknown
    assert dry.task("new file", absent=["/etc/app.conf"], dest="/etc/app.conf").status is CHANGED
    assert dry.task("is it there", absent=["/usr/sbin/thing"], status=OK).is_unknown
    assert dry.task("is it there", absent=["/srv/thing"], status=OK).status is OK
    assert dry.task("restart", names=[("packages", "nginx")], state="restarted").status is CHANGED


def test_command_that_is_not_run_is_about_what_it_names(dry):
    dry.task("shell", status=Status.UNKNOWN, text="useradd bob && tar -C /srv/app -xf a.tar > /dev/null")
    assert dry.task("in it", absent=["/srv/app/x"], status=OK).is_unknown
    assert dry.task("user", names=[("users", "bob")], status=OK).is_unknown
    assert dry.task("user", names=[("users", "eve")], status=OK).status is OK
    assert dry.task("apart", absent=["/home/eve/x"], status=OK).status is OK


def test_machines_are_apart(dry):
    dry.task("write", "/a", dest="/a")
    looks = Looks()
    looks.path("/a")
    assert dry.expected.judge("n", "other", Given(), looks, Result(OK, {})).status is OK


def test_watched_node_notes_what_is_asked():
    node = FakeNode("a")
    node.write("/etc/x", b"x")
    looks = Looks()
    watched = WatchedNode.over(node, looks)
    watched.stat("/etc/x")
    watched.stat("/etc/none")
    watched.list("/etc")
    watched.write("/etc/y", b"y")
    found = {(look.path, look.absent, look.deep) for look in looks.paths}
    assert found == {("/etc/x", False, False), ("/etc/none", True, False), ("/etc", False, True)}


def test_calls_are_told_by_their_arguments():
    looks = Looks()
    looks.call("files", "look", {"path": "/a", "content": True}, {"stat": None})
    looks.call("packages", "state", {"names": ["x", "y"]}, {})
    looks.call("services", "all", {}, {})
    looks.call("files", "find", {"paths": ["/b", "/c"]}, [])
    assert [(look.path, look.absent, look.deep) for look in looks.paths] == [
        ("/a", True, False),
        ("/b", False, True),
        ("/c", False, True),
    ]
    assert looks.names == {("packages", "x"), ("packages", "y")}
    assert looks.surveys == {"services"}


def test_what_is_carried_out_all_the_same_is_unknown_when_it_names_what_would_change(dry):
    dry.task("install", names={("package", "haproxy")})
    ran = dry.expected.carried_out
    known = Result(OK, {"stdout": "3.0", "changed": False})
    assert ran("m", Given(text="haproxy -v"), Looks(), known).is_unknown
    assert ran("m", Given(text="uname -r"), Looks(), known).status is OK
    assert ran("other", Given(text="haproxy -v"), Looks(), known).status is OK


def test_what_is_carried_out_and_fails_may_need_what_is_not_done_yet(dry):
    failed = Result(FAILED, {"msg": "no such program"})
    assert dry.expected.carried_out("m", Given(text="hap"), Looks(), failed).status is FAILED
    dry.task("install", names={("package", "haproxy")})
    found = dry.expected.carried_out("m", Given(text="hap"), Looks(), failed)
    assert (
        found.unknown
        == "it fails as things are (no such program), but 'install' would change this host before"
    )


def test_what_is_carried_out_reads_a_file_that_would_change(dry):
    dry.task("write", "/etc/x/y", dest="/etc/x/y")
    known = Result(OK, {"changed": False})
    assert dry.expected.carried_out("m", Given(text="cat /etc/x/y"), Looks(), known).is_unknown
    assert dry.expected.carried_out("m", Given(text="cat /etc/x/z"), Looks(), known).status is OK
