"""Libraries that are loaded without some of their parts."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from labctl import lean, yaml
from labctl.errors import YamlError


def test_a_pattern_is_compiled_when_it_is_used():
    with lean.patterns_later():
        pattern, wrong = re.compile("b+", re.IGNORECASE), re.compile("(")
    assert isinstance(re.compile("c"), re.Pattern)
    assert [pattern.search("aBb").group(), pattern.sub("-", "abc"), pattern.pattern] == ["Bb", "a-c", "b+"]
    with pytest.raises(re.error):
        wrong.match("x")


def test_after_an_error_patterns_are_compiled_again():
    with pytest.raises(ValueError, match="stop"), lean.patterns_later():
        raise ValueError("stop")
    assert isinstance(re.compile("d"), re.Pattern)


def test_yaml_reads_numbers_times_and_refuses_control_characters():
    text = "[1, 0x1f, 1.5, 2026-11-22, yes, 'a']"
    assert [str(value) for value in yaml.load(text)] == ["1", "31", "1.5", "2026-11-22", "True", "a"]
    with pytest.raises(YamlError, match="not valid YAML"):
        yaml.load("a: \x01")


def test_yaml_without_its_c_library_is_the_same():
    script = (
        "import sys; sys.modules['yaml._yaml'] = None; sys.modules['_yaml'] = None; from labctl import yaml; "
        "print(yaml._Loader.__name__, yaml.load('{a: [1, 0x1f, yes, 1.5]}'))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "SafeLoader {'a': [1, 31, True, 1.5]}\n"
