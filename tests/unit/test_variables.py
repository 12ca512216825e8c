"""Scope and Templar: native types, laziness, undefined and unknown values, cycles, positions."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Mapping

import pytest

from labctl import yaml
from labctl.errors import LabctlError, Mark, UndefinedVariable, UnknownValue, VariableError
from labctl.variables import OMIT, Plan, Scope, Templar, Unknown, contains_unknown, shown
from labctl.vault import encrypt
from labctl.yaml import Text

TEMPLAR = Templar()


def scope(*layers, **variables):
    return Scope(TEMPLAR, [*layers, variables])


def from_yaml(text, tmp_path):
    path = tmp_path / "vars.yml"
    path.write_text(text)
    return yaml.load_file(str(path))


class TestNativeTypes:
    """As ansible-core 2.19."""

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("{{ n }}", 5),
            ("{{ '5' }}", "5"),
            ("{{ n }}{{ n }}", "55"),
            ("{{ 1 }}{{ 2 }}", "12"),
            ("a{{ nothing }}b", "ab"),
            ("{{ nothing }}", None),
            ("{% if false %}x{% endif %}", None),
            ("{{ '' }}", ""),
            ("x{{ lst }}", "x[1, 2]"),
            ("{{ true }}y", "Truey"),
            ("{{ lst | map('string') }}", ["1", "2"]),
            ("{{ (1, 2) }}", [1, 2]),
            ("{{ {'a': n} }}", {"a": 5}),
            ("{% for i in lst %}{{ i }},{% endfor %}", "1,2,"),
            ("{% set x = n %}{{ x + 1 }}", 6),
            ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(3) }}{{ m('x') }}", "<3><x>"),
            ("{{ dict(lst | zip(lst)) }}", {1: 1, 2: 2}),
            ("{% if n == 5 %}\nyes\n{% endif %}\n", "yes\n"),
            ("{# a comment #}{{ n }}", 5),
            ("no template", "no template"),
            ("{{ lst | first }} {{ lst[-1] }} {{ d.a.b }} {{ d['a']['b'] }}", "1 2 x x"),
            ("{{ vars.n }} {{ vars['lst'] }}", "5 [1, 2]"),
        ],
    )
    def test_value(self, text, value):
        found = scope(n=5, nothing=None, lst=[1, 2], d={"a": {"b": "x"}}).render(Text(text))
        assert (found, type(found)) == (value, type(value))

    def test_containers_are_rendered_through_and_plain(self):
        raw = {"a": [Text("{{ n }}"), {"b": Text("{{ lst }}")}], Text("k"): Text("v")}
        found = scope(n=5, lst=[Text("{{ n }}")]).render(raw)
        assert found == {"a": [5, {"b": [5]}], "k": "v"}
        assert [type(found), type(found["a"]), type(found["k"])] == [dict, list, str]
        assert all(type(key) is str for key in found)

    def test_filters_are_not_computed_when_compiled(self):
        templar = Templar(
            extra_filters={"count_up": lambda value, calls=[]: (calls.append(1), len(calls))[1]}
        )
        one = Scope(templar, [{}])
        assert [one.render(Text("{{ 'x' | count_up }}")) for _ in range(2)] == [1, 2]


class TestTrust:
    def test_a_plain_string_is_never_a_template(self):
        one = scope(fact="{{ n }}", n=5, nested={"a": ["{{ n }}"]})
        assert one["fact"] == "{{ n }}"
        assert one.render(Text("{{ fact }}")) == "{{ n }}"
        assert one.render("{{ n }}") == "{{ n }}"
        assert one["nested"] == {"a": ["{{ n }}"]}

    def test_a_result_is_not_rendered_again(self):
        one = scope(a=Text("{{ '{{ n }}' }}"), n=5)
        assert one["a"] == "{{ n }}"
        assert type(one["a"]) is str
        assert one.render(Text("{{ a }}!")) == "{{ n }}!"

    def test_unsafe_text_stays(self):
        value = Text("{{ n }}", unsafe=True)
        assert scope(a=value, n=5)["a"] == "{{ n }}"
        assert scope(n=5).render(value) == "{{ n }}"

    def test_an_encrypted_value_needs_a_password(self):
        sealed = encrypt(b"clear", b"password")
        secret = Text(sealed, Mark("f", 1, 1), unsafe=True, vault=True)
        with pytest.raises(VariableError, match="encrypted"):
            _ = scope(a=secret)["a"]
        assert Scope(Templar(decrypt=lambda _: "clear"), [{"a": secret}]).render(Text("{{ a }}")) == "clear"


class TestLazy:
    def test_only_what_is_read_is_rendered(self):
        one = scope(d={"good": Text("{{ 1 + 1 }}"), "bad": Text("{{ nope }}")}, lst=[1, Text("{{ nope }}")])
        assert (
            one.render(Text("{{ d.good }} {{ lst[0] }} {{ lst | length }} {{ 'bad' in d }}")) == "2 1 2 True"
        )
        with pytest.raises(UndefinedVariable):
            one.render(Text("{{ d }}"))

    def test_a_dict_may_refer_to_itself(self):
        one = scope(d={"base": "/x", "sub": Text("{{ d.base }}/y"), "deep": [Text("{{ d.sub }}/z")]})
        assert one["d"] == {"base": "/x", "sub": "/x/y", "deep": ["/x/y/z"]}

    def test_a_value_is_rendered_once(self):
        calls = []
        templar = Templar(extra_filters={"note": lambda value: calls.append(value) or value})
        one = Scope(templar, [{"a": Text("{{ 1 | note }}")}])
        assert one.render([Text("{{ a }}"), Text("{{ a }}{{ a }}")]) == [1, "11"]
        assert calls == [1]

    @pytest.mark.parametrize(
        "expression",
        [
            "d == {'a': 1, 'b': [1, 2]}",
            "d.items() | list == [('a', 1), ('b', [1, 2])]",
            "d.values() | list == [1, [1, 2]]",
            "d.get('a') == 1 and d.get('z', 3) == 3",
            "dict(d, c=1) == {'a': 1, 'b': [1, 2], 'c': 1}",
            "(d | combine({'c': 1})).b == [1, 2]",
            "d | dict2items | map(attribute='value') | first == 1",
            'd | to_json == \'{"a": 1, "b": [1, 2]}\'',
            "d | dictsort | length == 2",
            "lst + [3] == [1, 2, 3]",
            "[0] + lst == [0, 1, 2]",
            "lst[1:] == [2]",
            "lst | sum == 3 and lst | max == 2 and lst | join('-') == '1-2'",
            "lst | sort(reverse=true) == [2, 1]",
            "1 in lst and 7 not in lst",
            "lst * 2 == [1, 2, 1, 2]",
            "lst | reverse | list == [2, 1]",
            "lst | string == '[1, 2]' and d | string == \"{'a': 1, 'b': [1, 2]}\"",
            "objs | selectattr('ok') | map(attribute='n') | list == [1]",
            "objs | sort(attribute='n', reverse=true) | map(attribute='n') | list == [2, 1]",
            "objs | groupby('ok') | length == 2",
            "[lst, [3]] | flatten == [1, 2, 3]",
            "lst is subset([1, 2, 3]) and lst == [1, 2] and lst != [1]",
            "d is mapping and lst is sequence and lst is not mapping",
            "lst.copy() == lst and lst.index(2) == 1 and lst.count(1) == 1",
        ],
    )
    def test_lazy_containers_behave_as_containers(self, expression):
        n, two = Text("{{ 1 }}"), Text("{{ 1 + 1 }}")
        objs = [{"n": n, "ok": Text("{{ true }}")}, {"n": two, "ok": False}]
        assert scope(d={"a": n, "b": [n, two]}, lst=[n, two], objs=objs).condition(expression) is True

    def test_the_scope_is_a_mapping(self):
        one = scope({"a": 1, "b": 2}, b=Text("{{ a + 10 }}"))
        assert dict(one) == {"a": 1, "b": 11}
        assert ("a" in one, "z" in one, len(one), one.get("z", 4)) == (True, False, 2, 4)
        with pytest.raises(KeyError):
            _ = one["z"]
        assert one.raw("b") == "{{ a + 10 }}"
        with pytest.raises(UndefinedVariable):
            one.raw("z")
        assert one.over({"a": 5})["b"] == 15

    def test_another_hosts_scope_in_a_template(self):
        other = scope(port=Text("{{ base + 1 }}"), base=80, broken=Text("{{ nope }}"), render="mine")
        one = scope(hostvars={"web": other})
        assert one.render(Text("{{ hostvars.web.port }} {{ hostvars['web']['port'] }}")) == "81 81"
        assert one.render(Text("{{ hostvars.web.render }}")) == "mine"
        assert one.condition("hostvars.web.missing is undefined and hostvars.db is undefined")


class TestUndefined:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("{{ nope | default('x') }}", "x"),
            ("{{ nope.a.b['c'] | default('x') }}", "x"),
            ("{{ nope is defined }}", False),
            ("{{ nope.a is undefined }}", True),
            ("{{ d.missing | default('x') }}", "x"),
            ("{{ nope | upper | default('x') }}", "x"),
            ("{{ indirect | default('x') }}", "x"),
            ("{{ within | default('x') }}", "x"),
            ("{{ 3 if nope is defined else 4 }}", 4),
            ("{{ '' | default('x', true) }}", "x"),
            ("{{ nope | type_debug }}", "Undefined"),
            ("{{ [nope, 1] | select('defined') | list }}", [1]),
        ],
    )
    def test_what_it_is_good_for(self, text, value):
        one = scope(d={"a": 1}, indirect=Text("{{ nope }}"), within=Text("x{{ nope }}"))
        assert one.render(Text(text)) == value

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "{{ nope }}",
                "{{ nope.a }}",
                "a{{ nope }}",
                "{{ nope + 1 }}",
                "{{ nope == 1 }}",
                "{{ nope() }}",
            ),
            *(
                "{% if nope %}{% endif %}",
                "{% for i in nope %}{% endfor %}",
                "{{ [nope] }}",
                "{{ {'a': nope} }}",
            ),
            *(
                "{{ 1 in nope }}",
                "{{ nope ~ 'x' }}",
                "{{ nope | upper }}",
                "{{ not nope }}",
                "{{ nope is failed }}",
            ),
        ],
    )
    def test_any_use_is_an_error(self, text):
        with pytest.raises(UndefinedVariable, match="'nope' is undefined"):
            scope(hope=1).render(Text(text))

    def test_hints(self):
        one = scope(port=80, d={"colour": 1})
        with pytest.raises(UndefinedVariable) as info:
            one.render(Text("{{ prot }}"))
        assert info.value.hint == "did you mean 'port'?"
        with pytest.raises(UndefinedVariable, match="object of type 'dict' has no attribute 'color'") as info:
            one.render(Text("{{ d.color }}"))
        assert info.value.hint == "did you mean 'colour'?"

    def test_the_innermost_position_is_named(self, tmp_path):
        raw = from_yaml(
            "outer: '{{ inner.a }}'\ninner:\n  a: 'x {{ port }} {{ prt }}'\nport: 1\n"
            "block: |\n  one\n  two {{ prt }}\n",
            tmp_path,
        )
        with pytest.raises(UndefinedVariable) as info:
            scope(raw).render(Text("{{ outer }}", Mark("play.yml", 9, 9)))
        assert (info.value.mark.line, info.value.mark.column) == (3, 23)
        assert "needed by variable 'inner.a'" in info.value.message
        with pytest.raises(UndefinedVariable) as info:
            _ = scope(raw)["block"]
        assert (info.value.mark.line, info.value.mark.column) == (7, 10)


class TestUnknown:
    @pytest.mark.parametrize(
        "text",
        [
            *("{{ r.rc }}", "{{ r.rc == 0 }}", "{{ r.rc | int }}", "{{ r.rc | default(1) }}", "{{ r.rc.x }}"),
            *(
                "{{ whole.stdout }}",
                "{{ whole['rc'] }}",
                "{{ whole is changed }}",
                "a{{ r.rc }}",
                "{{ [r.rc] }}",
            ),
            *("{{ r.rc ~ 'x' }}", "{% if whole %}{% endif %}", "{{ whole | to_json }}", "{{ r | to_json }}"),
            *("{{ 1 + r.rc }}", "{{ r.rc in [1] }}", "{{ '%s' % r.rc }}", "{{ r }}", "{{ whole.reason }}"),
        ],
    )
    def test_any_use_says_why(self, text):
        one = scope(r={"rc": Unknown("'make' is not run"), "ok": 1}, whole=Unknown("'make' is not run"))
        with pytest.raises(UnknownValue, match="'make' is not run"):
            one.render(Text(text, Mark("f", 1, 1)))

    def test_what_can_be_said_of_it(self):
        one = scope(r={"rc": Unknown("why"), "ok": 1})
        assert one.condition("r.rc is defined and r.ok == 1")
        assert one.render(Text("{{ r.ok }}")) == 1
        with pytest.raises(UnknownValue):
            one.condition("r.rc == 0")

    def test_kept_and_shown(self):
        one = scope(r={"rc": Unknown("why")})
        kept = one.render({"a": Text("{{ r.rc }}"), "b": 1}, keep_unknown=True)
        assert contains_unknown(kept)
        assert json.dumps(shown(kept)) == '{"a": "<unknown: why>", "b": 1}'
        assert copy.deepcopy(kept["a"]).reason == "why"


class TestOmit:
    def test_left_out_of_containers(self):
        raw = {
            "a": Text("{{ nope | default(omit) }}"),
            "b": [Text("{{ omit }}"), 1],
            "c": {"d": Text("{{ omit }}")},
        }
        assert scope().render(raw) == {"b": [1], "c": {}}
        assert scope().render(Text("{{ [omit, 1] }}")) == [1]
        assert scope().render(Text("{{ omit }}")) is OMIT
        assert copy.deepcopy(OMIT) is OMIT


class TestCycles:
    def test_named(self):
        one = scope(a=Text("{{ b }}"), b=Text("x{{ c.d }}"), c={"d": Text("{{ a }}")})
        with pytest.raises(VariableError, match=r"a → b → c\.d → a"):
            _ = one["a"]

    def test_of_one(self):
        with pytest.raises(VariableError, match="defined by itself: x → x"):
            _ = scope(x=Text("{{ x | default(1) }}"))["x"]

    def test_over_hosts(self):
        class HostVars(Mapping):
            def __getitem__(self, name):
                return scope(hostvars=self, x=Text("{{ hostvars['a'].x }}"))

            def __iter__(self):
                return iter(["a"])

            def __len__(self):
                return 1

        with pytest.raises(VariableError, match="too deeply"):
            _ = scope(hostvars=HostVars(), x=Text("{{ hostvars['a'].x }}"))["x"]

    def test_a_scope_works_again_after_an_error(self):
        one = scope(a=Text("{{ b }}"), b=Text("{{ 1 / zero }}"), zero=0)
        for _ in range(2):
            with pytest.raises(VariableError, match="division by zero"):
                _ = one["a"]


class TestCondition:
    @pytest.mark.parametrize(
        ("expression", "holds"),
        [
            ("n == 5", True),
            ("n == 6 or n > 4", True),
            (["n == 5", "n == 6"], False),
            (["n == 5", ["true", True]], True),
            ([], True),
            (True, True),
            (False, False),
            (None, True),
            ("True", True),
            ("false", False),
            ("{{ n == 5 }}", True),
            ("not (n == 5)", False),
            ("'a' in s and s is match('ha')", True),
            ("flag", False),
            (Text("n is version('5', '>=')"), True),
        ],
    )
    def test_value(self, expression, holds):
        assert scope(n=5, s="ham", flag=Text("{{ n == 6 }}")).condition(expression) is holds

    @pytest.mark.parametrize(
        "expression", ["n", "s", "lst", "nothing", "", "  ", 1, "{{ s }}", {"a": 1}, "yes"]
    )
    def test_what_is_not_a_boolean_is_an_error(self, expression):
        with pytest.raises(VariableError) as info:
            scope(n=5, s="yes", lst=[1], nothing=None).condition(expression, Mark("play.yml", 3, 7))
        assert info.value.mark == Mark("play.yml", 3, 7)

    def test_the_second_part_is_not_read_when_the_first_is_false(self):
        assert scope(n=1).condition(["n == 2", "nope"]) is False


class TestProblems:
    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("{{ n | defalt(1) }}", "No filter named 'defalt'", "did you mean 'default'?"),
            ("{{ n is definde }}", "No test named 'definde'", "did you mean 'defined'?"),
            ("{{ n", "unexpected end of template", "is a '{{' or '{%' closed?"),
            ("{{ n }", "unexpected '}'", "is a '{{' or '{%' closed?"),
            ("{{ n + 'x' }}", "unsupported operand type", None),
            ("{{ lookup('fiel', 'x') }}", "no lookup named 'fiel'", "did you mean 'file'?"),
            ("{% include 'none.j2' %}", "'none.j2' not found", None),
            ("{{ 'x' | regex_search('(') }}", "not a regular expression", None),
        ],
    )
    def test_message_hint_and_position(self, text, message, hint):
        mark = Mark("play.yml", 3, 7)
        with pytest.raises(VariableError) as info:
            scope(n=5).render(Text(text, mark))
        assert message in info.value.message
        assert info.value.hint == hint
        assert info.value.mark == mark
        assert "Traceback" not in info.value.report()

    def test_every_template_of_a_value_can_be_checked_without_running(self):
        raw = {"a": [Text("{{ nope }}"), Text("fine"), Text("{{ x | no_such }}", Mark("f", 2, 3))]}
        with pytest.raises(VariableError, match="no_such") as info:
            TEMPLAR.check(raw)
        assert info.value.mark == Mark("f", 2, 3)
        TEMPLAR.check(Text("n == 5"), expression=True)
        TEMPLAR.check(["{{ not | a template"])
        with pytest.raises(VariableError):
            TEMPLAR.check(Text("n =="), expression=True)

    def test_evaluate(self):
        assert scope(d={"a": Text("{{ 2 }}")}).evaluate("d.a * 3") == 6
        with pytest.raises(VariableError, match="unexpected"):
            scope().evaluate("1 1")

    def test_template_is_always_text(self):
        assert scope(n=5).template("{{ n }}") == "5"
        assert scope(n=None).template("{{ n }}\n") == "\n"
        assert (
            scope().template("#jinja2: variable_start_string: '<<', variable_end_string: '>>'\n<< 1 >>{{")
            == "1{{"
        )
        with pytest.raises(VariableError, match="no Jinja2 option 'trim'"):
            scope().template("#jinja2: trim: true\n")


def precedence_layers(**parts):
    return Plan(frozenset(), **parts).layers({})


def test_precedence_goes_from_role_defaults_to_magic():
    parts = dict.fromkeys(("role_defaults", "vars_files", "role_vars", "block_vars"))
    parts = {name: [{name: 1, "who": name}] for name in parts}
    parts |= {name: [{name: 1, "who": name}] for name in ("role_params", "include_params")}
    single = (
        *("inventory", "facts", "play_vars", "vars_prompt", "task_vars", "include_vars", "registered"),
        *("loop_vars", "extra_vars", "magic"),
    )
    parts |= {name: {name: 1, "who": name} for name in single}
    order = [layer["who"] for layer in precedence_layers(**parts)]
    assert order == [
        *("role_defaults", "inventory", "facts", "play_vars", "vars_prompt", "vars_files", "role_vars"),
        *("block_vars", "task_vars", "include_vars", "registered", "role_params", "include_params"),
        *("loop_vars", "extra_vars", "magic"),
    ]
    assert scope(*precedence_layers(**parts))["who"] == "magic"
    assert precedence_layers() == []


def test_threads_share_a_templar():
    templar, problems = Templar(), []

    def work(number):
        one = Scope(templar, [{"n": number, "a": Text("{{ n * 2 }}")}])
        for turn in range(50):
            try:
                assert (
                    one.over({"turn": turn}).render(Text("{{ a + turn }}-{{ n }}"))
                    == f"{number * 2 + turn}-{number}"
                )
            except (AssertionError, LabctlError) as error:
                problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
