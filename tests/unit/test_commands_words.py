"""A command line's words: as shlex has them."""

from __future__ import annotations

import itertools
import shlex

import pytest

from labctl import commands
from labctl.errors import TaskFailed

PIECES = ("a", "é", " ", "\t\n", "\u00a0", "'", '"', "\\", "#", "$x", "''")


def test_they_are_what_shlex_makes_of_them():
    for count in range(5):
        for pieces in itertools.product(PIECES, repeat=count):
            line = "".join(pieces)
            try:
                expected = shlex.split(line)
            except ValueError:
                with pytest.raises(TaskFailed, match="cannot be split"):
                    commands.words(line)
            else:
                assert commands.words(line) == expected, line


def test_they_are_no_ones_but_the_callers():
    commands.words("a b").append("c")
    assert commands.words("a b") == ["a", "b"]
