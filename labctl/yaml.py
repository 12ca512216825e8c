"""YAML with positions.

Mappings and lists remember where each key and value stood; strings remember it themselves. A `Text`
also says that its author is a person who wrote a file for labctl: only such strings are templates,
never a plain `str` that came from a node (facts, command output).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from collections.abc import Mapping as AnyMapping
from typing import Any, Protocol, Self, cast

from labctl import lean
from labctl.errors import Mark, VaultError, YamlError

with lean.patterns_later():
    import yaml as pyyaml

VAULT_HEADER = "$ANSIBLE_VAULT;"  # how a file begins that is encrypted as a whole


class Vault(Protocol):
    """What opens wholly encrypted files."""

    def file(self, ciphertext: str, mark: Mark | None = None) -> str:
        """The clear text. VaultError."""

    def learn(self, content: Any) -> None:
        """What the clear text says, so that it is not shown."""


_vault: Vault | None = None
_notice: Callable[[str, Mark], None] | None = None
_Loader: type[Any] = getattr(pyyaml, "CSafeLoader", pyyaml.SafeLoader)


class Text(str):
    """A string from a file, with its position. Templating is allowed in it unless `unsafe`."""

    __slots__ = ("mark", "unsafe", "vault")
    mark: Mark | None
    unsafe: bool
    vault: bool

    def __new__(
        cls, value: str, mark: Mark | None = None, *, unsafe: bool = False, vault: bool = False
    ) -> Self:
        text = super().__new__(cls, value)
        text.mark = mark
        text.unsafe = unsafe
        text.vault = vault
        return text


class Mapping(dict[Any, Any]):
    """A dict that knows where it, each key and each value stood."""

    __slots__ = ("key_marks", "mark", "value_marks")

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark
        self.key_marks: dict[Any, Mark] = {}
        self.value_marks: dict[Any, Mark] = {}

    def key_mark(self, key: object) -> Mark:
        return self.key_marks.get(key, self.mark)

    def value_mark(self, key: object) -> Mark:
        return self.value_marks.get(key, self.mark)


class Sequence(list[Any]):
    """A list that knows where it and each item stood."""

    __slots__ = ("item_marks", "mark")

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark
        self.item_marks: list[Mark] = []

    def item_mark(self, index: int) -> Mark:
        return self.item_marks[index] if index < len(self.item_marks) else self.mark


def mark_of(value: object, default: Mark | None = None) -> Mark | None:
    """The position of a loaded value, or `default` for values that carry none (numbers, booleans)."""
    return getattr(value, "mark", None) or default


def merged(mappings: Iterable[AnyMapping[str, Any]]) -> dict[str, Any]:
    """One mapping of several, later ones winning; positions are kept."""
    whole: dict[str, Any] = {}
    for mapping in mappings:
        if not whole:
            whole = Mapping(getattr(mapping, "mark", Mark("", 1, 1)))
        whole.update(mapping)
        if isinstance(mapping, Mapping) and isinstance(whole, Mapping):
            whole.key_marks.update(mapping.key_marks)
            whole.value_marks.update(mapping.value_marks)
    return whole


def load_file(path: str) -> Any:
    """The one document in the file `path`; None when it is empty. Raises YamlError with a position."""
    try:
        with open(path, encoding="utf-8") as stream:
            text = stream.read()
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise YamlError(f"{path}: {error.strerror}") from None
    if not text.startswith(VAULT_HEADER):
        return load(text, path)
    if _vault is None:
        raise VaultError("the whole file is encrypted with Ansible Vault", mark=Mark(path, 1, 1))
    content = load(_vault.file(text, Mark(path, 1, 1)), path)
    _vault.learn(content)
    return content


def open_files_with(vault: Vault | None) -> None:
    """What `load_file` opens encrypted files with: the passwords of this process."""
    global _vault
    _vault = vault


def tell_of_doubled_keys(notice: Callable[[str, Mark], None] | None) -> None:
    """Whom this process tells of a key that stands twice in a mapping: then the last one counts, as in
    Ansible. Without anybody it is a YamlError."""
    global _notice
    _notice = notice


def load(text: str, name: str = "<string>") -> Any:
    """The one document in `text`. `name` is what positions call the file."""
    documents = load_all(text, name)
    if len(documents) > 1:
        raise YamlError(f"{name}: expected one YAML document, found {len(documents)}")
    return documents[0] if documents else None


def load_all(text: str, name: str = "<string>") -> list[Any]:
    loader = _Loader(text)
    builder = _Builder(name)
    try:
        return list(_documents(loader, builder))
    except pyyaml.MarkedYAMLError as error:
        raise _syntax_error(error, name, text) from None
    except pyyaml.YAMLError as error:
        raise YamlError(f"{name}: not valid YAML: {error}") from None
    except RecursionError:
        raise YamlError(f"{name}: not valid YAML: nested too deeply") from None
    finally:
        loader.dispose()


def _documents(loader: Any, builder: _Builder) -> Iterator[Any]:
    while loader.check_node():
        builder.loader = loader
        yield builder.build(loader.get_node())


def _syntax_error(error: pyyaml.MarkedYAMLError, name: str, text: str) -> YamlError:
    at = error.problem_mark or error.context_mark
    problem = error.problem or error.context or "cannot be read"
    if "unexpected end of stream" in problem and error.context_mark:
        at, problem = error.context_mark, f"{error.context}, the file ends"
    if at is None:
        return YamlError(f"{name}: not valid YAML: {problem}")
    lines = text.splitlines()
    line = lines[at.line] if at.line < len(lines) else ""
    hint = None
    if line[: at.column + 1].strip(" ") in ("\t", "-\t") or line.startswith("\t"):
        hint = "indent with spaces, not tabs"
    elif re.search(r"(^|[:-] +)\{[{%]", line):
        hint = "a value that begins with '{{' must be quoted"
    elif "mapping values are not allowed" in problem:
        hint = "a value that holds ': ' must be quoted"
    elif "cannot start any token" in problem:
        hint = f"a value that begins with '{line[at.column : at.column + 1]}' must be quoted"
    return YamlError(f"not valid YAML: {problem}", mark=Mark(name, at.line + 1, at.column + 1), hint=hint)


class _Builder:
    """Turns composed nodes into Python values; anchors are built once and shared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.loader: Any = None
        self._built: dict[int, Any] = {}
        self._open: set[int] = set()

    def _mark(self, node: Any) -> Mark:
        return Mark(self.name, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: Any) -> Any:
        if id(node) in self._open:
            raise YamlError("an anchor cannot stand for something that holds it", mark=self._mark(node))
        if id(node) in self._built:
            return self._built[id(node)]
        if isinstance(node, pyyaml.ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        is_mapping = isinstance(node, pyyaml.MappingNode)
        built = self._built[id(node)] = self._mapping(node) if is_mapping else self._sequence(node)
        self._open.discard(id(node))
        return built

    def _sequence(self, node: Any) -> Sequence:
        sequence = Sequence(self._mark(node))
        for child in node.value:
            sequence.append(self.build(child))
            sequence.item_marks.append(self._mark(child))
        return sequence

    def _mapping(self, node: Any) -> Mapping:
        mapping = Mapping(self._mark(node))
        merged: list[Any] = []
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged.append(value_node)
                continue
            key = self.build(key_node)
            if not isinstance(key, Hashable):
                raise YamlError(
                    "a mapping cannot be a key", mark=self._mark(key_node), hint="quote '{{ … }}'"
                )
            if key in mapping:
                first = mapping.key_mark(key)
                said = f"key '{key}' stands twice in one mapping (first at line {first.line})"
                if _notice is None:
                    raise YamlError(said, mark=self._mark(key_node))
                _notice(f"{said}; this one counts", self._mark(key_node))
            mapping[key] = self.build(value_node)
            mapping.key_marks[key] = self._mark(key_node)
            mapping.value_marks[key] = self._mark(value_node)
        for value_node in merged:
            self._merge(mapping, self.build(value_node), self._mark(value_node))
        return mapping

    def _merge(self, mapping: Mapping, source: Any, mark: Mark) -> None:
        for other in source if isinstance(source, Sequence) else [source]:
            if not isinstance(other, Mapping):
                raise YamlError("'<<' takes a mapping or a list of mappings", mark=mark)
            for key, value in other.items():
                if key not in mapping:
                    mapping[key] = value
                    mapping.key_marks[key] = other.key_mark(key)
                    mapping.value_marks[key] = other.value_mark(key)

    def _scalar(self, node: Any) -> Any:
        tag = cast("str", node.tag)
        if tag == "tag:yaml.org,2002:str":
            return Text(node.value, self._mark(node))
        if tag in ("!unsafe", "!vault", "!vault-encrypted"):
            return Text(node.value, self._mark(node), unsafe=True, vault=tag != "!unsafe")
        if not tag.startswith("tag:yaml.org,2002:"):
            raise YamlError(f"unknown YAML tag '{tag}'", mark=self._mark(node), hint="known: !vault, !unsafe")
        try:
            return self.loader.construct_object(node, deep=True)
        except (ValueError, pyyaml.YAMLError) as error:
            raise YamlError(f"not a valid value: {error}", mark=self._mark(node)) from None
