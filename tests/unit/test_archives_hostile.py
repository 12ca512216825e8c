"""Archives that name what is outside of the directory they are unpacked in."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from labctl.node.functions import archives

_WANTED = {
    "include": [],
    "exclude": [],
    "options": [],
    "keep_newer": False,
    "mode": "0777",
    "owner": None,
    "group": None,
}


@pytest.fixture
def place(tmp_path):
    """The folder to unpack in; beside it `outside`, with a file that must stay as it is."""
    (tmp_path / "dest").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("kept")
    (tmp_path / "outside/kept").chmod(0o600)
    yield tmp_path
    assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == ["kept"]
    assert (tmp_path / "outside/kept").read_text() == "kept"
    assert (tmp_path / "outside/kept").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "outside").stat().st_mode & 0o777 != 0o777
    assert not (tmp_path / "evil").exists()


def _tar(path, *members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content.encode()))
    return str(path)


def _zip(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            link = content.startswith("->")
            info.external_attr = (0o120777 if link else 0o100644) << 16
            info.create_system = 3
            archive.writestr(info, content.removeprefix("->"))
    return str(path)


def _twice(source, dest):
    """Unpack it as two runs of a task do."""
    for _ in range(2):
        found = archives.compare(source, str(dest), **_WANTED)
        if "error" not in found and found["different"]:
            archives.unpack(source, str(dest), **_WANTED)
        elif "error" not in found and found["attributes"]:
            archives.attributes(source, str(dest), names=found["files"], **_WANTED)
    return archives.compare(source, str(dest), **_WANTED)


def _members(place):
    return {
        "up": [("../evil", "x"), ("../outside/kept", "x"), ("a/../../evil", "x")],
        "absolute": [(f"{place}/outside/kept", "x"), (f"{place}/evil", "x")],
        "link": [("l", "->../outside"), ("l/kept", "x"), ("l/new", "x")],
        "absolute link": [("l", f"->{place}/outside"), ("l/kept", "x")],
        "link to a file": [("l", "->../outside/kept"), ("l", "x")],
        "link after": [("d/kept", "x"), ("d", f"->{place}/outside")],
        "only a link": [("l", f"->{place}/outside/kept"), ("m", f"->{place}/outside")],
    }


_KINDS = ("up", "absolute", "link", "absolute link", "link to a file", "link after", "only a link")


@pytest.mark.parametrize("kind", _KINDS)
def test_tar_stays_inside(place, kind):
    _twice(_tar(place / "a.tar", *_members(place)[kind]), place / "dest")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", _KINDS)
def test_zip_stays_inside(place, kind):
    _twice(_zip(place / "a.zip", *_members(place)[kind]), place / "dest")


def test_zip_with_an_entry_through_a_link_is_refused(place):
    found = archives.compare(
        _zip(place / "a.zip", ("l", "->../outside"), ("l/new", "x")), str(place / "dest"), **_WANTED
    )
    assert "goes through a link" in found["error"]


def test_a_stripped_zip_name_is_found_where_unzip_puts_it(place):
    (place / "dest/evil").write_text("x")
    found = archives.compare(_zip(place / "a.zip", ("../evil", "y")), str(place / "dest"), **_WANTED)
    assert found["different"] == ["../evil"]


def test_attributes_do_not_go_through_a_link_that_is_there(place):
    (place / "dest/l").symlink_to("../outside")
    names = ["l/kept", "l/"]
    assert archives.attributes("", str(place / "dest"), names=names, **_WANTED) in ([], [f"{place}/dest/l"])
