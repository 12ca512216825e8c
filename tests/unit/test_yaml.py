"""YAML with positions."""

import pytest

from labctl import yaml
from labctl.errors import Mark, VaultError, YamlError
from labctl.yaml import Mapping, Sequence, Text, load, load_all, load_file, mark_of


def failure(text: str) -> YamlError:
    with pytest.raises(YamlError) as caught:
        load(text, "f.yml")
    return caught.value


def test_strings_know_where_they_stand_and_are_templates() -> None:
    value = load("a: one\nb:\n  - two\n  - 'three'\n", "f.yml")
    assert isinstance(value["a"], Text)
    assert not value["a"].unsafe
    assert value["a"].mark == Mark("f.yml", 1, 4)
    assert value["b"][1].mark == Mark("f.yml", 4, 5)
    assert value["b"].item_mark(0) == Mark("f.yml", 3, 5)


def test_numbers_have_positions_through_their_container() -> None:
    value = load("port: 22\nlist: [1, true]\n", "f.yml")
    assert isinstance(value, Mapping)
    assert isinstance(value["list"], Sequence)
    assert value.key_mark("port") == Mark("f.yml", 1, 1)
    assert value.value_mark("port") == Mark("f.yml", 1, 7)
    assert value["list"].item_mark(1) == Mark("f.yml", 2, 11)
    assert mark_of(22) is None
    assert mark_of(22, Mark("f.yml", 9, 9)) == Mark("f.yml", 9, 9)


def test_unsafe_and_vault_texts_are_no_templates() -> None:
    value = load("a: !unsafe '{{ x }}'\nb: !vault |\n  $ANSIBLE_VAULT;1.1\n", "f.yml")
    assert value["a"].unsafe
    assert not value["a"].vault
    assert value["b"].unsafe
    assert value["b"].vault


def test_merge_keys_give_way_to_own_keys_and_keep_positions() -> None:
    value = load("base: &b {x: 1, y: 2}\nuser:\n  <<: *b\n  y: 3\n", "f.yml")
    assert value["user"] == {"x": 1, "y": 3}
    assert value["user"].key_mark("x") == Mark("f.yml", 1, 11)


def test_an_anchor_is_built_once() -> None:
    value = load("a: &l [1]\nb: *l\n")
    assert value["a"] is value["b"]


def test_a_key_that_stands_twice_is_refused_where_it_stands_again() -> None:
    error = failure("a: 1\nb: 2\na: 3\n")
    assert error.mark == Mark("f.yml", 3, 1)
    assert "'a' stands twice" in error.message
    assert "line 1" in error.message


@pytest.mark.parametrize(
    ("text", "line", "column", "hint"),
    [
        ("a: b: c\n", 1, 5, "must be quoted"),
        ("a:\n\t- b\n", 2, 1, "spaces, not tabs"),
        ("a: [1, 2\nb: 3\n", 2, 2, None),
        ("a: 'x\n", 1, 4, None),
        ("a: {{ x }}/y\n", 1, 11, "begins with '{{' must be quoted"),
        ("a: @x\n", 1, 4, "begins with '@' must be quoted"),
        ("a: !strange x\n", 1, 4, "!vault"),
    ],
)
def test_syntax_errors_have_positions(text: str, line: int, column: int, hint: str | None) -> None:
    error = failure(text)
    assert error.mark == Mark("f.yml", line, column)
    assert error.exit_code == 6
    if hint:
        assert hint in (error.hint or "")


def test_a_template_that_is_not_quoted_is_explained() -> None:
    error = failure("a: {{ x }}\n")
    assert error.mark is not None
    assert error.mark.line == 1
    assert "quote" in (error.hint or "")


def test_an_alias_to_nothing_is_an_error() -> None:
    assert failure("a: *nothing\n").mark == Mark("f.yml", 1, 4)


def test_an_anchor_that_holds_itself() -> None:
    error = failure("a: &x\n  - b: *x\n")
    assert error.mark == Mark("f.yml", 1, 4)
    assert "holds it" in error.message


def test_nesting_without_end_has_a_message_not_a_traceback() -> None:
    with pytest.raises(YamlError, match="too deeply"):
        load("[" * 5000 + "]" * 5000)


def test_documents() -> None:
    assert load("") is None
    assert load_all("--- 1\n--- 2\n") == [1, 2]
    with pytest.raises(YamlError, match="one YAML document, found 2"):
        load("--- 1\n--- 2\n")


def test_files_that_cannot_be_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("labctl.yaml._vault", None)
    with pytest.raises(YamlError, match="No such file"):
        load_file(str(tmp_path / "none.yml"))
    (tmp_path / "latin.yml").write_bytes(b"a: \xe9\n")
    with pytest.raises(YamlError, match="not UTF-8"):
        load_file(str(tmp_path / "latin.yml"))
    (tmp_path / "vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3836\n")
    with pytest.raises(VaultError, match="encrypted with Ansible Vault"):
        load_file(str(tmp_path / "vault.yml"))
    with pytest.raises(YamlError, match="Is a directory"):
        load_file(str(tmp_path))


def test_control_characters_have_a_message_not_a_traceback() -> None:
    with pytest.raises(YamlError):
        load("a: \x00\n", "f.yml")


def test_a_doubled_key_is_told_of_where_somebody_listens():
    told = []
    yaml.tell_of_doubled_keys(lambda said, mark: told.append(f"{mark}: {said}"))
    assert yaml.load("a: 1\na: 2\n", "f.yml") == {"a": 2}
    assert told == ["f.yml:2:1: key 'a' stands twice in one mapping (first at line 1); this one counts"]
