"""Arguments that take one of a few values: which are accepted, and what is said of the others."""

from typing import Literal

import pytest

from labctl.errors import PlaybookError
from labctl.task_types import Registry
from labctl.task_types.coercion import choices_of, coerce

SOURCE = '''"""-"""
from dataclasses import dataclass
from typing import Literal
from labctl.task_types import Args, arg

@dataclass(kw_only=True)
class Arguments(Args):
    state: Literal["present", "latest"] | None = arg(None, doc="-")
    upgrade: Literal["no", "yes", "safe"] = arg("no", doc="-")
    follow: str = arg("safe", doc="-", choices=("safe", "no", "yes"))

def run(args, ctx):
    yield
'''


@pytest.fixture
def kind(tmp_path):
    (tmp_path / "chooser.py").write_text(SOURCE)
    return Registry([tmp_path]).get("chooser")


@pytest.mark.parametrize(
    ("name", "given", "bound"),
    [
        ("state", "latest", "latest"),
        ("state", None, None),
        ("upgrade", True, "yes"),
        ("upgrade", False, "no"),
        ("follow", True, "yes"),
    ],
)
def test_a_value_of_the_list_is_taken_and_a_boolean_stands_for_its_word(kind, name, given, bound):
    assert kind.convert(name, given, None) == bound


@pytest.mark.parametrize(("name", "given"), [("state", "latests"), ("upgrade", "ye"), ("follow", "al")])
def test_any_other_value_is_refused_with_the_list(kind, name, given):
    with pytest.raises(
        PlaybookError, match=f"'{name}' of 'chooser' must be one of .*, not the string '{given}'"
    ):
        kind.convert(name, given, None)


def test_the_nearest_value_is_named(kind):
    with pytest.raises(PlaybookError) as caught:
        kind.convert("state", "latests", None)
    assert caught.value.hint == "did you mean 'latest'?"


def test_a_boolean_that_no_word_or_two_words_stand_for_is_refused():
    with pytest.raises(ValueError, match="True"):
        coerce(True, Literal["present", "absent"])
    with pytest.raises(ValueError, match="True"):
        coerce(True, Literal["yes", "on"])


def test_the_values_of_a_type_are_known():
    assert choices_of(Literal["a", "b"] | None) == ("a", "b")
    assert choices_of(str | None) == ()
