"""How many files labctl may open when there are many hosts."""

from __future__ import annotations

import pytest

from labctl.cli import common


@pytest.fixture
def asked(monkeypatch):
    """What the limits were set to, on a machine with the usual ones."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(common.resource, "getrlimit", lambda _what: (1024, 4096))
    monkeypatch.setattr(common.resource, "setrlimit", lambda _what, limits: found.append(limits))
    return found


def test_few_hosts_leave_the_limit_as_it_is(asked, capsys):
    common._allow_files(100)
    assert (asked, capsys.readouterr().err) == ([], "")


def test_many_hosts_raise_it_as_far_as_it_goes(asked, capsys):
    common._allow_files(500)
    assert (asked, capsys.readouterr().err) == ([(3200, 4096)], "")
    common._allow_files(2000)
    assert asked[1:] == [(4096, 4096)]
    assert "2000 hosts may take 12200 open files, and this machine allows 4096" in capsys.readouterr().err
