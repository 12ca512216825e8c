"""Filters, tests and lookups. Expected values are those of ansible-core 2.19, unless labctl says otherwise."""

from __future__ import annotations

import os

import pytest

from labctl.errors import UndefinedVariable, VariableError
from labctl.variables import Scope, Templar, loop_items
from labctl.yaml import Text

TEMPLAR = Templar()
VARIABLES = {
    "a": {"x": 1, "l": [1, 2], "n": {"p": 1}},
    "b": {"y": 2, "l": [2, 3], "n": {"q": 2}},
    "users": [{"n": 1, "keys": ["k1", "k2"]}, {"n": 2, "keys": []}],
    "nothing": None,
}


def value(expression, **more):
    return Scope(TEMPLAR, [VARIABLES, more]).render(Text("{{ " + expression + " }}"))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a | combine(b)", {"x": 1, "l": [2, 3], "n": {"q": 2}, "y": 2}),
        (
            "a | combine(b, recursive=true, list_merge='append_rp')",
            {"x": 1, "l": [1, 2, 3], "n": {"p": 1, "q": 2}, "y": 2},
        ),
        ("(a | combine(b, list_merge='prepend')).l", [2, 3, 1, 2]),
        ("[a, b] | combine(recursive=true)", {"x": 1, "l": [2, 3], "n": {"p": 1, "q": 2}, "y": 2}),
        ("'foobar' | regex_search('o(b)')", "ob"),
        ("'foobar' | regex_search('o(b)', '\\1')", ["b"]),
        ("'foobar' | regex_search('(?P<n>o+)', '\\g<n>')", ["oo"]),
        ("'foobar' | regex_search('zzz')", None),
        ("'aXbX' | regex_replace('x', '-', ignorecase=true)", "a-b-"),
        ("'ab' | regex_replace('(a)(b)', '\\2\\1')", "ba"),
        ("'a1b2' | regex_findall('[0-9]')", ["1", "2"]),
        ("'a1b2' | regex_findall('([a-z])([0-9])')", [["a", "1"], ["b", "2"]]),
        ("'a.b' | regex_escape", "a\\.b"),
        ("'a.b*' | regex_escape('posix_basic')", "a\\.b\\*"),
        ("a | to_json", '{"x": 1, "l": [1, 2], "n": {"p": 1}}'),
        (
            "a | to_nice_json",
            '{\n    "l": [\n        1,\n        2\n    ],\n    "n": {\n        "p": 1\n    },\n    "x": 1\n}',
        ),
        ("a | to_yaml", "l: [1, 2]\nn: {p: 1}\nx: 1\n"),
        ("a | to_nice_yaml", "l:\n- 1\n- 2\nn:\n    p: 1\nx: 1\n"),
        ("'{\"a\": 1}' | from_json", {"a": 1}),
        ("'a: [1]' | from_yaml", {"a": [1]}),
        ("'a: 1\n---\nb: 2' | from_yaml_all", [{"a": 1}, {"b": 2}]),
        ("1024 | human_readable", "1.00 KB"),
        ("1500000 | human_readable", "1.43 MB"),
        ("8000 | human_readable(isbits=true)", "7.81 Kb"),
        ("1048576 | human_readable(unit='K')", "1024.00 KB"),
        ("12 | human_readable", "12.00 Bytes"),
        ("'10M' | human_to_bytes", 10485760),
        ("'10' | human_to_bytes('K')", 10240),
        ("'1.5GB' | human_to_bytes", 1610612736),
        ("'a b' | quote", "'a b'"),
        ("nothing | quote", "''"),
        ("'x' | hash('sha256')", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"),
        ("'x' | checksum", "11f6ad8ec52a2984abaafd7c3b516503785c2072"),
        ("'x' | md5", "9dd4e461268c8034f5c8564e155c67a6"),
        ("'abc' | b64encode", "YWJj"),
        ("'YWJj' | b64decode", "abc"),
        ("'x' | to_uuid", "66b2f013-1baa-5313-9c8c-e6f1182e0e90"),
        ("[1, [2, [3, none]]] | flatten", [1, 2, 3]),
        ("[1, [2, [3]]] | flatten(levels=1)", [1, 2, [3]]),
        ("8 | log(2)", 3.0),
        ("2 | pow(3)", 8.0),
        ("4 | root", 2.0),
        ("('http://u:p@h:80/p?q=1#f' | urlsplit).port", 80),
        ("'http://u:p@h:80/p?q=1#f' | urlsplit('hostname')", "h"),
        ("'a%20b' | urldecode", "a b"),
        ("'%Y' | strftime(0, utc=true)", "1970"),
        ("('2016-08-14 20:00:12' | to_datetime).year", 2016),
        (
            "(('2016-08-14 20:00:12' | to_datetime) - ('2016-08-14 20:00:02' | to_datetime)).total_seconds()",
            10.0,
        ),
        ("'a\nb' | comment", "#\n# a\n# b\n#"),
        ("'a\nb' | comment('c', prefix='x', postfix='y')", "x\n// a\n// b\ny"),
        ("'a\nb' | comment('cblock')", "/*\n *\n * a\n * b\n *\n */"),
        ("'a,b' | split(',')", ["a", "b"]),
        ("'a  b' | split", ["a", "b"]),
        ("true | ternary('a', 'b')", "a"),
        ("none | ternary('a', 'b', 'c')", "c"),
        ("[1, 2, 2] | union([3, 1])", [1, 2, 3]),
        ("[1, 2, 2] | intersect([2])", [2]),
        ("[1, 2] | difference([2])", [1]),
        ("[1, 2] | symmetric_difference([2, 3])", [1, 3]),
        ("[3, 1, 3, 'a', 'A', {'x': 1}, {'x': 1}] | unique", [3, 1, "a", "A", {"x": 1}]),
        ("['b', 'A', 'a'] | unique(case_sensitive=false)", ["b", "A"]),
        ("users | unique(attribute='n') | length", 2),
        ("[1, 2] | zip([3, 4])", [[1, 3], [2, 4]]),
        ("[1, 2] | zip_longest([3], fillvalue='x')", [[1, 3], [2, "x"]]),
        ("[1, 2] | product([3])", [[1, 3], [2, 3]]),
        ("[1, 2, 3] | combinations(2) | length", 3),
        ("{'a': 1} | dict2items", [{"key": "a", "value": 1}]),
        ("{'a': 1} | dict2items(key_name='k')", [{"k": "a", "value": 1}]),
        ("[{'key': 'a', 'value': 1}] | items2dict", {"a": 1}),
        ("users | subelements('keys') | map('last')", ["k1", "k2"]),
        ("[{'k': 'a', 'v': 1}] | rekey_on_member('k')", {"a": {"k": "a", "v": 1}}),
        ("'yes' | bool", True),
        ("'off' | bool", False),
        ("1 | bool", True),
        ("'x' | int", 0),
        ("'1.5' | float", 1.5),
        ("['a', 'b'] | path_join", "a/b"),
        ("'/a/b.c' | splitext", ["/a/b", ".c"]),
        ("'/a/b/../c' | normpath", "/a/c"),
        ("'/a/b' | relpath('/a')", "b"),
        ("['/a/b', '/a/c'] | commonpath", "/a"),
        ("'/a/b.c' | basename ~ '|' ~ '/a/b.c' | dirname", "b.c|/a"),
        ("[0, 1] | map('extract', ['x', 'y'])", ["x", "y"]),
        ("['a'] | map('extract', {'a': {'b': 3}}, 'b')", [3]),
        ("users | map(attribute='n') | max", 2),
        ("'x' | type_debug ~ a | type_debug ~ [1] | type_debug", "strdictlist"),
        ("5 | mandatory", 5),
        ("[1, 2] | ansible.builtin.difference([1])", [2]),
    ],
)
def test_filter(expression, expected):
    found = value(expression)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "nope | mandatory",
            "undef(hint='set it')",
            "'x' | subelements('y')",
            "{'a': 1} | dict2items(1, 2, 3)",
        ),
        *(
            "'x' | human_to_bytes",
            "'x' | hash('none')",
            "'{' | from_json",
            "5 | union([1])",
            "'x' | to_datetime",
        ),
        *("[1] | items2dict", "a | combine(1)", "a | combine(b, list_merge='what')", "'x' | comment('what')"),
        *(
            "'http://h' | urlsplit('what')",
            "users | subelements('none')",
            "[] | random",
            "'abcde' | b64decode",
        ),
        *(
            "1 | root('x')",
            "'ab' | regex_replace('a', 'b', mandatory_count=2)",
            "users | rekey_on_member('x')",
        ),
    ],
)
def test_misuse_of_a_filter_is_one_clear_error(expression):
    with pytest.raises(VariableError) as info:
        value(expression)
    assert "object at 0x" not in info.value.message


def test_chance_can_be_seeded():
    for expression in (
        "100 | random(seed='s')",
        "[1, 2, 3, 4] | shuffle(seed='s')",
        "range(9) | random(seed=1)",
    ):
        assert value(expression) == value(expression)
    assert 3 <= value("10 | random(start=3, step=2)") < 10
    assert sorted(value("[1, 2, 3] | shuffle")) == [1, 2, 3]


def test_now_and_undef():
    assert value("now(utc=true, fmt='%Y') | int") >= 2024
    with pytest.raises(UndefinedVariable, match="set it"):
        value("undef(hint='set it')")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("[true, false] is any and not ([true, false] is all)", True),
        ("[1, 2] is contains(1)", True),
        ("[1] is subset([1, 2]) and [1, 2] is superset([1])", True),
        ("'yes' is truthy(convert_bool=true) and 'x' is truthy and '' is falsy", True),
        ("'abc' is match('b')", False),
        ("'abc' is search('b') and 'abc' is regex('C$', ignorecase=true)", True),
        ("'1.2.3' is version('1.10', '<') and '1.2' is version('1.2.0', 'lt')", True),
        ("'1.7.24' is version('1.7', '>=')", True),
        ("'1.0.0-rc.1' is version('1.0.0', '<', version_type='semver')", True),
        ("'1.0.0-rc.2' is version('1.0.0-rc.10', '<', version_type='semver')", True),
        ("'1.2a1' is version('1.2', '<', strict=true)", True),
        ("{'failed': true} is failed and {'rc': 1} is not failed and {} is succeeded", True),
        ("{'changed': true} is changed and {'results': [{'changed': true}]} is changed", True),
        ("{'skipped': true} is skipped and {'unreachable': true} is unreachable", True),
        ("'/etc/passwd' is file and '/etc' is directory and '/etc' is exists and '/x' is not exists", True),
        ("'/etc' is abs and '/proc' is mount and 'a' is not abs", True),
        ("'http://h/p' is url and 'h/p' is not url and 'urn:isbn:1' is urn", True),
        ("[1, 2] is sequence and a is mapping and 5 is number and 'x' is string", True),
        ("1 in [1] and 3 is divisibleby(3) and 4 is even and 2 is in([2])", True),
    ],
)
def test_test(expression, expected):
    assert value(expression) is expected


@pytest.mark.parametrize(
    "expression",
    ["5 is failed", "'1' is version('2', 'about')", "'x' is version('1.0.0', '<', version_type='semver')"],
)
def test_misuse_of_a_test(expression):
    with pytest.raises(VariableError):
        value(expression)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one.txt").write_text("one\n")
    (tmp_path / "files" / "two.txt").write_text("two\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "t.j2").write_text("{{ n }}-{{ extra | default('none') }}")
    return {"playbook_dir": str(tmp_path), "n": 5, "here": str(tmp_path)}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("lookup('items', [])", []),
        ("lookup('items', [1, 2])", [1, 2]),
        ("lookup('items', ['a', 'b'])", "a,b"),
        ("lookup('items', ['a', 'b'], wantlist=true)", ["a", "b"]),
        ("lookup('dict', {'a': 1})", {"key": "a", "value": 1}),
        ("query('items', [1, [2]], 3)", [1, [2], 3]),
        ("q('list', [1, [2]])", [[1, [2]]]),
        ("query('nested', [1, 2], [3])", [[1, 3], [2, 3]]),
        ("query('together', [1, 2], [3])", [[1, 3], [2, None]]),
        ("query('indexed_items', ['a', 'b'])", [[0, "a"], [1, "b"]]),
        ("query('subelements', users, 'keys') | map('last')", ["k1", "k2"]),
        ("query('sequence', 'start=1 end=4 stride=2 format=h%02d')", ["h01", "h03"]),
        ("query('sequence', count=3)", ["1", "2", "3"]),
        ("query('sequence', '5-8')", ["5", "6", "7", "8"]),
        ("query('sequence', '2-8/2:host%02x')", ["host02", "host04", "host06", "host08"]),
        ("query('sequence', 'start=3 end=1 stride=-1')", ["3", "2", "1"]),
        ("query('vars', 'n', 'zz', default='q')", [5, "q"]),
        ("query('varnames', '^n$')", ["n"]),
        ("lookup('env', 'LABCTL_TEST_ENV')", "set"),
        ("lookup('env', 'LABCTL_NOT_SET', default='d')", "d"),
        ("lookup('file', 'one.txt')", "one"),
        ("lookup('file', 'one.txt', rstrip=false)", "one\n"),
        ("lookup('file', 'one.txt', 'two.txt')", "one,two"),
        ("query('fileglob', '*.txt') | map('basename')", ["one.txt", "two.txt"]),
        ("lookup('first_found', ['none', 'files/two.txt']) | basename", "two.txt"),
        (
            "lookup('first_found', {'files': ['x', 'one.txt'], 'paths': [here ~ '/files']}) | basename",
            "one.txt",
        ),
        ("query('first_found', ['none'], skip=true)", []),
        ("lookup('template', 't.j2')", "5-none"),
        ("lookup('template', 't.j2', template_vars={'extra': 'x'})", "5-x"),
        ("lookup('file', 'none', errors='ignore')", None),
        ("lookup('ansible.builtin.items', [7])", 7),
    ],
)
def test_lookup(files, monkeypatch, expression, expected):
    monkeypatch.setitem(os.environ, "LABCTL_TEST_ENV", "set")
    assert value(expression, **files) == expected


@pytest.mark.parametrize(
    "expression",
    [
        *("lookup('file', 'none')", "lookup('first_found', ['none'])", "query('sequence', 'start=1')"),
        *(
            "query('sequence', 'end=5 stride=-1')",
            "query('sequence', 'size=3')",
            "lookup('items', [1], what=2)",
        ),
        *("query('vars', 'nope')", "lookup('file', nope)", "query('sequence', '3', format='%d %d')"),
    ],
)
def test_misuse_of_a_lookup(files, expression):
    with pytest.raises(VariableError):
        value(expression, **files)


class TestLoops:
    def items(self, kind, raw, **more):
        return loop_items(Scope(TEMPLAR, [VARIABLES, more]), kind, raw)

    def test_loop(self):
        assert self.items(None, Text("{{ users | map(attribute='n') }}")) == [1, 2]
        assert self.items(None, [1, Text("{{ a.x }}"), Text("{{ nope | default(omit) }}")]) == [1, 1]
        for wrong in (Text("{{ a }}"), Text("text"), None):
            with pytest.raises(VariableError, match="needs a list"):
                self.items(None, wrong)

    @pytest.mark.parametrize(
        ("kind", "raw", "expected"),
        [
            ("items", [[1, 2], 3, [[4]]], [1, 2, 3, [4]]),
            ("items", Text("{{ a.l }}"), [1, 2]),
            ("items", "one", ["one"]),
            ("list", [[1], 2], [[1], 2]),
            ("dict", {"a": Text("{{ a.x }}")}, [{"key": "a", "value": 1}]),
            ("nested", [[1, 2], ["x"]], [[1, "x"], [2, "x"]]),
            ("sequence", "start=1 end=2", ["1", "2"]),
            (
                "subelements",
                [Text("{{ users }}"), "keys"],
                [[{"n": 1}, "k1"], [{"n": 1}, "k2"]],
            ),
            ("flattened", [[1, [2]], 3], [1, 2, 3]),
        ],
    )
    def test_with(self, kind, raw, expected):
        assert self.items(kind, raw) == expected

    def test_unknown_kind(self):
        with pytest.raises(VariableError, match="with_itmes") as info:
            self.items("itmes", [])
        assert info.value.hint == "did you mean 'items'?"


class TestTrials:
    def test_each_strategy_once_in_every_pair_in_abba_order(self):
        found = value("['native', 'optimized'] | trials(pairs=3)")
        assert [(t["trial"], t["pair"], t["strategy"], t["position"]) for t in found] == [
            *((1, 1, "native", 1), (2, 1, "optimized", 2)),
            *((3, 2, "optimized", 1), (4, 2, "native", 2)),
            *((5, 3, "native", 1), (6, 3, "optimized", 2)),
        ]
        assert len(value("['a', 'b', 'c'] | trials(pairs=4)")) == 12
        assert len(value("['a'] | trials")) == 1

    @pytest.mark.parametrize(
        "expression", ["[] | trials", "['a', 'a'] | trials", "'ab' | trials", "['a'] | trials(0)"]
    )
    def test_misuse(self, expression):
        with pytest.raises(VariableError, match="trials"):
            value(expression)
