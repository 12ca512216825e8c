"""`-e` arguments and vars_files."""

import pytest

from labctl.errors import LabctlError, PlaybookError, UsageError, VariableError
from labctl.variables import Scope, Templar, load_vars_file, load_vars_files, parse_extra_vars
from labctl.yaml import Text


class TestExtraVars:
    @pytest.mark.parametrize(
        ("items", "expected"),
        [
            (["a=1 b='x y'"], {"a": "1", "b": "x y"}),
            (['a="{{ b }}"', "a=later"], {"a": "later"}),
            (["url=http://h:80/p?a=b"], {"url": "http://h:80/p?a=b"}),
            (["empty="], {"empty": ""}),
            (['{"a": 1, "b": [true, null], "c": {"d": "x"}}'], {"a": 1, "b": [True, None], "c": {"d": "x"}}),
            (["a: 1"], {"a": 1}),
            (["{a: 1, b: text}"], {"a": 1, "b": "text"}),
            (["a=1", '{"a": 2}'], {"a": 2}),
            ([], {}),
        ],
    )
    def test_forms(self, items, expected):
        assert parse_extra_vars(items) == expected

    def test_every_string_is_a_template(self, tmp_path):
        (tmp_path / "v.yml").write_text("file: '{{ n }}'\n")
        found = parse_extra_vars(["k='{{ n }}'", '{"j": ["{{ n }}"]}', f"@{tmp_path}/v.yml"])
        scope = Scope(Templar(), [{"n": 5}, found])
        assert (scope["k"], scope["j"], scope["file"]) == (5, [5], 5)

    @pytest.mark.parametrize("item", ["word", "a b=1", "1a=2", "a='", "[1]", "{a", "'a b'=1"])
    def test_nonsense_is_a_usage_error(self, item):
        with pytest.raises(UsageError) as info:
            parse_extra_vars([item])
        assert "-e" in info.value.message

    def test_a_missing_file(self):
        with pytest.raises(LabctlError, match="No such file"):
            parse_extra_vars(["@/no/such/file"])


class TestVarsFiles:
    @pytest.fixture
    def find(self, tmp_path):
        (tmp_path / "debian.yml").write_text("os: Debian\n")
        (tmp_path / "default.yml").write_text("os: other\nn: 1\n")
        (tmp_path / "empty.yml").write_text("")
        (tmp_path / "list.yml").write_text("- 1\n")
        (tmp_path / "number.yml").write_text("1: x\n")

        def found(name):
            return tmp_path / name if (tmp_path / name).is_file() else None

        return found

    def load(self, find, entries, **variables):
        return load_vars_files(entries, Scope(Templar(), [variables]), find)

    def test_in_order_and_first_that_exists(self, find):
        assert self.load(find, ["default.yml", Text("{{ os | lower }}.yml"), "empty.yml"], os="Debian") == [
            {"os": "other", "n": 1},
            {"os": "Debian"},
            {},
        ]
        assert self.load(find, [["none.yml", Text("{{ nope }}.yml"), "debian.yml"]]) == [{"os": "Debian"}]

    def test_missing(self, find):
        with pytest.raises(PlaybookError, match=r"not found: none\.yml"):
            self.load(find, ["none.yml"])
        with pytest.raises(PlaybookError, match="a, b"):
            self.load(find, [["a", "b"]])
        with pytest.raises(VariableError):
            self.load(find, [Text("{{ nope }}")])

    @pytest.mark.parametrize(("name", "line"), [("list.yml", 1), ("number.yml", 1)])
    def test_what_is_no_mapping_of_names(self, find, name, line):
        with pytest.raises(PlaybookError) as info:
            load_vars_file(find(name))
        assert info.value.mark.line == line
