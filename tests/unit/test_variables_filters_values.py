"""What a template's value is at its edges: backslashes, newlines, nothing, templates in literals."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from labctl.errors import VariableError
from labctl.variables import Scope, Templar
from labctl.yaml import Text

TEMPLAR = Templar()


def scope(**variables):
    return Scope(TEMPLAR, [variables])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (r"{{ 'a-b' | regex_replace('(a)', '<\1>') }}", "<a>-b"),
        (r"{{ 'a\tb' }}", r"a\tb"),
        (r"{% set x = 'a\tb' %}{{ x }}", "a\tb"),
        ("{{ n }}\n", 3),
        ("{{ n }} \n\n", "3 \n\n"),
        ("{{ nothing }}{{ n }}", 3),
        ("x{{ nothing }}y", "xy"),
        ("{{ nothing }}{{ nothing }}", None),
        ("{{ n }}{{ ',' if false }}", "3"),
        ("{{ '{{ n }}' }}", "{{ n }}"),
        ("{{ 6 | int // 4 }}{# remark #}", 1),
    ],
)
def test_value(template, expected):
    assert scope(n=3, nothing=None).render(Text(template)) == expected


def test_a_template_file_has_jinjas_own_backslashes_and_newlines():
    assert scope(n=3).template("{{ 'a\\tb' }}\n{% if n %}\nx\n{% endif %}\n\n") == "a\tb\nx\n\n"
    assert scope(n=3).template("{{ n }}\n") == "3\n"


@pytest.mark.parametrize(
    "template", ["{{ d.keys }}", "{{ d.__class__ }}", "{{ 'x' if false }}", "{{ 'x'.nope }}"]
)
def test_what_is_no_value(template):
    with pytest.raises(VariableError):
        scope(d={"a": 1}).render(Text(template))


class TestConditions:
    def test_a_text_of_the_authors_may_be_the_condition(self):
        one = scope(n=3, cond=Text("n == 3"), item={"when": Text("n > 5"), "again": Text("{{ cond }}")})
        assert one.condition(Text("{{ cond }}"))
        assert not one.condition(Text("{{ item.when }}"))
        assert one.condition(Text(" {{ item.again }} "))

    def test_a_text_of_a_nodes_is_never_one(self):
        with pytest.raises(VariableError, match="true or false"):
            scope(n=3, said="n == 3").condition(Text("{{ said }}"))

    def test_templates_among_its_literals(self):
        assert scope(word="a").condition(Text("'{{ word }}' == 'a'"))
        assert not scope(n=3).condition(Text("'{{ n }}' == '3'"))


def test_templates_among_the_terms_of_a_lookup(tmp_path):
    (tmp_path / "one.txt").write_text("first")
    one = scope(name="one", playbook_dir=str(tmp_path))
    assert one.render(Text("{{ lookup('file', '{{ name }}.txt') }}")) == "first"
    with pytest.raises(VariableError, match="no file"):
        scope(name="{{ 1 }}", playbook_dir=str(tmp_path)).render(Text("{{ lookup('file', name) }}"))


def test_what_a_lookup_says_may_be_passed_over():
    told = []
    warned = Scope(Templar(warn=lambda message, _mark: told.append(message)), [])
    assert warned.render(Text("{{ lookup('file', 'none', errors='warn') }}")) is None
    assert warned.render(Text("{{ query('file', 'none', errors='ignore') }}")) == []
    assert len(told) == 1
    assert "none" in told[0]


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("filter", "'x' | shiny.new.thing", "filter_plugins/"),
        ("test", "'x' is shiny.new.thing", "test_plugins/"),
    ],
)
def test_a_name_of_a_collection(kind, name, said):
    with pytest.raises(VariableError, match=f"No {kind} named 'shiny.new.thing'") as caught:
        scope().render(Text("{{ " + name + " }}"))
    assert said in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("first", "operator", "second"),
    [
        ("1.0.dev1", "<", "1.0a1"),
        ("1.0a1", "<", "1.0rc1"),
        ("1.0rc1", "<", "1.0"),
        ("1.0", "<", "1.0+local"),
        ("1.0", "<", "1.0.post1"),
        ("1.0.post1.dev2", "<", "1.0.post1"),
        ("1.0", "==", "1.0.0"),
        ("1!0.1", ">", "2.0"),
        ("v1.0-1", "==", "1.0.post1"),
    ],
)
def test_versions_of_python(first, operator, second):
    expression = f"'{first}' is version('{second}', '{operator}', version_type='pep440')"
    assert scope().condition(Text(expression))


@pytest.fixture
def server():
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/none":
                self.send_error(404)
                return
            body = f"one\ntwo {self.headers['User-Agent']} {self.headers['Authorization']}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    found = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    thread.join()
    found.server_close()


def test_url(server):
    one = scope(u=server)
    assert one.render(Text("{{ query('url', u ~ '/x') }}")) == ["one", "two ansible-httpget None"]
    sent = one.render(Text("{{ lookup('url', u ~ '/x', split_lines=false, http_agent='me', username='a') }}"))
    assert sent == "one\ntwo me Basic YTo=\n"
    with pytest.raises(VariableError, match="answered 404"):
        one.render(Text("{{ lookup('url', u ~ '/none') }}"))
    with pytest.raises(VariableError, match=r"\*{8}@127") as caught:
        one.render(Text("{{ lookup('url', 'http://me:secret@127.0.0.1:1/') }}"))
    assert "secret" not in str(caught.value)
