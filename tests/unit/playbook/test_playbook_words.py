"""Small pure parts: the short form of arguments, and which tags are chosen."""

import pytest

from labctl.playbook import selected
from labctl.playbook.keyvalue import Unbalanced, split


def pairs(text: str) -> dict[str, str]:
    return {pair.name: pair.value for pair in split(text, lambda _name: True)[0]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('src=a dest="b c"', {"src": "a", "dest": "b c"}),
        ("msg='a\\nb' x=\"{{ foo | d('a b') }}\"", {"msg": "a\nb", "x": "{{ foo | d('a b') }}"}),
        ('k="a=b" z=\'"q"\'', {"k": "a=b", "z": '"q"'}),
        ('t="line\\tx" m=a\\"b', {"t": "line\tx", "m": 'a"b'}),
        ('v="{{ a }} and {{ b }}" w=', {"v": "{{ a }} and {{ b }}", "w": ""}),
        ("a={{ x y }}/z b={# c d #}", {"a": "{{ x y }}/z", "b": "{# c d #}"}),
        ("a=b\n  c=d", {"a": "b", "c": "d"}),
        ("u=\\u00e9 o=\\1\\101", {"u": "é", "o": "\\1\\101"}),
        ("u=\\N{BULLET} o=\\N{NOTHING}", {"u": "•", "o": "\\N{NOTHING}"}),
    ],
)
def test_pairs(text, expected) -> None:
    assert pairs(text) == expected


def test_only_the_names_taken_leave_the_text() -> None:
    found, rest, words = split('dd if=a  of="b c" chdir=/tmp', lambda name: name == "chdir")
    assert [(pair.name, pair.value, pair.start, pair.value_start) for pair in found] == [
        ("chdir", "/tmp", 18, 24)
    ]
    assert rest == 'dd if=a  of="b c"'
    assert [word.text for word in words] == ["dd", "if=a", 'of="b c"']
    assert split("  a  b ", lambda _name: True)[1] == "a  b"


@pytest.mark.parametrize(("text", "offset"), [('a "b', 2), ("x={{ y", 2), ("a='b{{ c'", 4)])
def test_what_is_not_closed(text, offset) -> None:
    with pytest.raises(Unbalanced) as caught:
        split(text, lambda _name: True)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("tags", "only", "skip", "expected"),
    [
        ("", "", "", True),
        ("a", "", "", True),
        ("a", "a", "", True),
        ("a", "b", "", False),
        ("", "a", "", False),
        ("always", "b", "", True),
        ("always a", "", "a", False),
        ("always", "", "always", False),
        ("always", "", "all", True),
        ("always", "", "all always", False),
        ("a", "", "all", False),
        ("never", "", "", False),
        ("never", "all", "", False),
        ("never a", "a", "", True),
        ("never", "never", "", True),
        ("never a", "tagged", "", False),
        ("a", "tagged", "", True),
        ("", "tagged", "", False),
        ("", "untagged", "", True),
        ("a", "untagged", "", False),
        ("", "", "untagged", False),
        ("a", "", "tagged", False),
        ("", "", "tagged", True),
        ("a b", "a", "b", False),
    ],
)
def test_tags(tags, only, skip, expected) -> None:
    assert selected(tags.split(), only.split(), skip.split()) is expected
