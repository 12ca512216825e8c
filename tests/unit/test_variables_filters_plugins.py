"""Plugins in files as Ansible takes them, and what they import."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from labctl.errors import VariableError
from labctl.variables import Scope, Templar, loop_items
from labctl.yaml import Text

LOOKUP = '''
    DOCUMENTATION = """
    name: words
    options:
      sep: {type: str, default: '-', vars: [{name: words_sep}], env: [{name: WORDS_SEP}]}
      times: {type: int, default: 1, aliases: [n]}
      loud: {type: bool, default: false}
      must: {choices: [a, b], default: a}
      parts: {type: list, elements: str}
    """
    from ansible.plugins.lookup import LookupBase
    from ansible.errors import AnsibleError

    class LookupModule(LookupBase):
        def run(self, terms, variables=None, **kwargs):
            self.set_options(var_options=variables, direct=kwargs)
            if 'bad' in terms:
                raise AnsibleError('a bad term')
            if 'file' in terms:
                return [self.find_file_in_search_path(variables, 'files', 'word.txt')]
            words = [self.get_option('sep').join([term] * self.get_option('times')) for term in terms]
            return [word.upper() if self.get_option('loud') else word for word in words]
    '''


@pytest.fixture
def bench(tmp_path):
    """`bench({"filter_plugins/x.py": "…"}, **variables)`: a scope whose playbook stands beside these files."""

    def make(files, warn=None, **variables):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        templar = Templar(warn=warn)
        templar.add_plugins(tmp_path)
        return Scope(templar, [{"playbook_dir": str(tmp_path), **variables}])

    return make


def value(scope, expression):
    return scope.render(Text("{{ " + expression + " }}"))


FILTER = """
    from ansible.errors import AnsibleFilterError
    from ansible.module_utils.six import string_types
    from ansible.module_utils._text import to_text, to_bytes

    def shout(value, mark='!'):
        from ansible.module_utils.common.collections import is_sequence
        if is_sequence(value):
            return [shout(item, mark) for item in value]
        if not isinstance(value, string_types):
            raise AnsibleFilterError('shout wants a string')
        return to_text(to_bytes(value)).upper() + mark

    class FilterModule(object):
        def filters(self):
            return {'shout': shout, 'kinds': lambda *args: [type(arg).__name__ for arg in args],
                    'lazy': lambda values: (value for value in values), 'boom': lambda value: value.nope}
    """


def test_filters_get_plain_values_and_may_give_iterators(bench):
    scope = bench({"filter_plugins/mine.py": FILTER}, d={"a": [Text("{{ 1 + 1 }}")]}, word="x")
    assert value(scope, "word | shout('?')") == "X?"
    assert value(scope, "['a', word] | shout") == ["A!", "X!"]
    assert value(scope, "d | kinds(d.a, 'x')") == ["dict", "list", "str"]
    assert value(scope, "[1, 2] | lazy") == [1, 2]
    assert value(scope, "word | ansible.builtin.shout") == "X!"
    assert scope.template("#jinja2: variable_start_string: '[['\n[[ word | shout }}") == "X!"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("5 | shout", "shout wants a string"),
        ("5 | boom", "AttributeError"),
        ("nope | shout", "'nope' is undefined"),
    ],
)
def test_a_filter_that_fails_names_its_file(bench, expression, said):
    scope = bench({"filter_plugins/mine.py": FILTER})
    with pytest.raises(VariableError, match=said) as caught:
        value(scope, expression)
    assert ("mine.py" in str(caught.value)) == ("undefined" not in said)


def test_tests_give_booleans(bench):
    scope = bench(
        {
            "test_plugins/t.py": """
                class TestModule:
                    def tests(self):
                        return {'long': lambda value, than=3: len(value) > than and 'yes'}
                """
        }
    )
    assert value(scope, "'abcd' is long") is True
    assert value(scope, "['abcd', 'x'] | select('long', 2)") == ["abcd"]
    assert scope.condition("'abc' is not long")


def test_lookups_have_their_documented_options(bench, monkeypatch):
    scope = bench({"lookup_plugins/words.py": LOOKUP, "files/word.txt": "w"}, words_sep="*")
    assert value(scope, "lookup('words', 'a', n='2')") == "a*a"
    assert value(scope, "query('words', 'a', 'b', loud='yes')") == ["A", "B"]
    assert value(scope, "lookup('words', 'file')").endswith("files/word.txt")
    assert loop_items(scope, "words", ["x", "y"]) == ["x", "y"]
    monkeypatch.setenv("WORDS_SEP", "~")
    assert value(bench({}), "lookup('words', 'a', times=2)") == "a~a"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("lookup('words', 'bad')", "words.py.*a bad term"),
        ("lookup('words', 'a', times='x')", "'times' must be of type int"),
        ("lookup('words', 'a', must='z')", "one of a, b"),
    ],
)
def test_a_lookup_that_fails_names_its_file(bench, call, said):
    with pytest.raises(VariableError, match=said):
        value(bench({"lookup_plugins/words.py": LOOKUP}), call)
    assert value(bench({}), call.replace(")", ", errors='ignore')")) is None


def test_a_file_that_cannot_be_loaded_is_told_and_passed_over(bench):
    told = []
    scope = bench(
        {
            "filter_plugins/a.py": "import a_module_that_does_not_exist",
            "filter_plugins/b.py": "from ansible.no_such_module import x",
            "filter_plugins/c.py": "x = 1",
            "filter_plugins/d.py": FILTER,
        },
        warn=lambda message, mark: told.append(message),
    )
    assert value(scope, "'x' | shout") == "X!"
    assert [message.split(": ")[0].rsplit("/", 1)[1] for message in told] == ["a.py", "b.py", "c.py"]
    assert "labctl does not provide" in told[1]


def test_what_plugins_import_stays_theirs(bench):
    bench({"filter_plugins/mine.py": FILTER})
    assert "ansible" not in sys.modules or "site-packages" in str(sys.modules["ansible"].__file__)
    with pytest.raises(ImportError):
        __import__("ansible.plugins.lookup_of_nobody")


def test_a_plugins_templar_renders_only_what_an_author_wrote(bench):
    scope = bench(
        {
            "lookup_plugins/render.py": """
                from ansible.plugins.lookup import LookupBase
                from ansible.template import trust_as_template

                class LookupModule(LookupBase):
                    def run(self, terms, variables=None, **kwargs):
                        return [self._templar.template(term) for term in terms] + [
                            self._templar.template(trust_as_template('{{ n + 1 }}'))]
                """
        },
        n=4,
        said="{{ n }}",
    )
    assert value(scope, "lookup('render', said)") == ["{{ n }}", 5]


def test_folders_of_the_environment(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.py").write_text(dedent(FILTER))
    monkeypatch.setenv("ANSIBLE_FILTER_PLUGINS", f"/none:{tmp_path / 'elsewhere'}")
    templar = Templar()
    templar.add_plugins(tmp_path)
    assert value(Scope(templar, []), "'x' | shout") == "X!"
