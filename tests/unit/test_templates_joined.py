"""Templates of texts and names only are rendered without Jinja2, and come to the same; and which templates may wait."""

from __future__ import annotations

from itertools import product

import pytest

from labctl.errors import LabctlError
from labctl.variables import Late, ReadyScope, Scope, SteadyScope, Templar, Unknown, Waits
from labctl.variables.joined import Joined
from labctl.yaml import Text

SOURCES = [
    "{{ a }}",
    "{{a}}",
    " {{ a }} ",
    "{{ a }}\n",
    "{{ a }}\n\n",
    "\n{{ a }}",
    "one {{ a }} two {{ b }}\nthree {{ a }}\n",
    "{{ a }}{{ b }}",
    "{ {{ a }} }",
    "{{ a }}}",
    "50 % of {{ a }} }} %} #}",
    "{{ omit }}",
]
NOT_JOINED = [
    "{{{ a }}}",
    "{{ a",
    "{{ a.b }}",
    "{{ a }}{# no #}",
    "{% if a %}{{ a }}{% endif %}",
    "{{- a }}",
    "{{ a | upper }}",
    "{{ true }}",
    "{{ None }}",
    "{{ self }}",
    "{{ hostvars }}",
    "{{ a }}\r\n",
    "{{ not }}",
]
VALUES = ["text", "with\nlines\n", "", 5, 1.5, True, None, [1, Text("{{ b }}")], {"k": Text("{{ b }}")}]


def compiled(templar: Templar) -> Templar:
    """The same, with every template given to Jinja2."""
    templar.text = lambda source: templar.environment.compile_text(source, escaped=True)
    return templar


def came_to(scope: Scope, source: str) -> object:
    try:
        return scope.render([Text(source)])
    except LabctlError as error:
        return type(error), error.message, error.hint


@pytest.mark.parametrize("source", SOURCES)
def test_joined_templates_come_to_what_jinja2_makes_of_them(source):
    own, other = Templar(), compiled(Templar())
    assert isinstance(own.text(source), Joined)
    wrong = [Text("{{ missing.x }}"), Text("{{ 1 / 0 }}"), Unknown("why"), Late(lambda: "late")]
    for a, b in product([*VALUES, *wrong], [1, "x", Text("{{ missing }}")]):
        layers = [{"a": a, "b": b}]
        assert came_to(Scope(own, layers), source) == came_to(Scope(other, layers), source)
    assert came_to(Scope(own, [{}]), source) == came_to(Scope(other, [{}]), source)


@pytest.mark.parametrize("source", NOT_JOINED)
def test_what_is_more_than_texts_and_names_is_left_to_jinja2(source):
    assert Joined.of(source, Templar().environment) is None


WAITING = [
    "{{ lookup('pipe', 'true') }}",
    "{{ query('file', 'x') | first }}",
    "{{ a if true else q('env', 'HOME') }}",
    "{{ hostvars['x'].y }}",
    "{{ vars['x'] }}",
    "{% include 'x' %}",
    "{{ a | own }}",
    "{{ a is owned }}",
    "{{ ['x'] | map('extract', hostvars) }}",
    "{% macro m() %}{% endmacro %}{{ m() }}",
    "{{ [a] | map('own') }}",
    "{{ [a] | map(b) }}",
    "{{ [a] | select('owned') }}",
    "{{ [{'x': a}] | rejectattr('x', 'owned') }}",
]
VARYING = [
    "{{ now() }}",
    "{{ '%H' | strftime }}",
    "{{ 5 | random }}",
    "{{ [1, 2] | ansible.builtin.shuffle }}",
    "{{ '/x' is exists }}",
    "{{ '/x' is is_dir }}",
    "{{ ['/x'] | select('ansible.builtin.file') }}",
    "{{ [{'x': '/x'}] | selectattr('x', 'link') }}",
    "{{ ['/x'] | map('realpath') }}",
    "{{ '/x/*' | fileglob }}",
]
READY = [
    "{{ a | upper }}",
    "{{ a.split(',') }}",
    "{{ range(3) }}",
    "{{ a is defined and a is match('x') }}",
    "{{ [a] | map('upper') | select('match', 'X') | list }}",
    "{{ [{'x': a}] | map(attribute='x') | list }}",
    "{{ [{'x': a}] | selectattr('x') | list }}",
    "{{ a }}",
]


@pytest.fixture
def templar() -> Templar:
    return Templar(extra_filters={"own": str}, extra_tests={"owned": bool})


@pytest.mark.parametrize("source", WAITING)
def test_templates_that_may_wait_are_not_rendered_by_who_must_not(templar, source):
    scope = ReadyScope(templar, [{"a": "x", "late": Text(source)}])
    for text in (source, "{{ late }}", "{{ late | upper }}"):
        with pytest.raises(Waits):
            scope.render(Text(text))
    with pytest.raises(Waits):
        scope.template(source)
    with pytest.raises(Waits):
        scope.condition("late == 'x'")


@pytest.mark.parametrize("source", [*WAITING, *VARYING])
def test_templates_that_may_say_something_else_later_are_not_rendered_ahead(templar, source):
    scope = SteadyScope(templar, [{"a": "x", "late": Text(source)}])
    for text in (source, "{{ late }}"):
        with pytest.raises(Waits):
            scope.render(Text(text))
    with pytest.raises(Waits):
        scope.template(source)


@pytest.mark.parametrize("source", READY)
def test_templates_that_only_compute_are_rendered(templar, source):
    layers = [{"a": "x,y"}]
    assert SteadyScope(templar, layers).render(Text(source)) == Scope(templar, layers).render(Text(source))
    assert ReadyScope(templar, layers).render(Text(source)) == Scope(templar, layers).render(Text(source))
