"""What a task has looked at on its host, noted as it looks: for the dry run (labctl.engine.expected)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from posixpath import normpath
from typing import Any, cast

from labctl.errors import NodeError
from labctl.node.api import Completed, Node, Stat
from labctl.records import dataclass, field

# Functions that tell of a file itself; any other may have walked what lies below it.
_SHALLOW = {
    *(("files", name) for name in ("look", "stat", "describe", "checksum", "contents", "real")),
    *(("files_copy", name) for name in ("same", "look")),
    ("files_stat", "stat"),
    ("paths", "about"),
}
# What these say depends on nothing a task changes.
_ABOUT_NOTHING = {
    ("files", "expand"),
    ("files", "umask"),
    ("files", "matches"),
    ("packages", "wait_for_locks"),
    ("identity", "identity"),
}
_SAME_KIND = {"getent": "accounts"}
_NAMING = {"name", "names", "user", "group", "owner", "unit", "service", "package", "packages", "key"}


@dataclass(frozen=True)
class Look:
    """One path. `absent`: nothing was there. `deep`: what lies below it was seen too."""

    path: str
    absent: bool = False
    deep: bool = False


@dataclass
class Looks:
    """`names`: (kind, name) of what is no file: packages, services, users. `surveys`: kinds of which all were
    asked for."""

    paths: list[Look] = field(default_factory=list)
    names: set[tuple[str, str]] = field(default_factory=set)
    surveys: set[str] = field(default_factory=set)

    @property
    def empty(self) -> bool:
        return not (self.paths or self.names or self.surveys)

    def path(self, path: str, *, absent: bool = False, deep: bool = False) -> None:
        self.paths.append(Look(normpath(path), absent, deep))

    def call(self, module: str, function: str, arguments: Mapping[str, Any], answer: Any) -> None:
        """A function of the node was asked."""
        if (module, function) in _ABOUT_NOTHING or module == "jobs":
            return
        found = False
        kind = _SAME_KIND.get(module, module)
        for name, value in arguments.items():
            for text in _texts(value):
                if is_path(text):
                    found = True
                    absent = _absent(answer, name)
                    self.path(text, absent=absent, deep=(module, function) not in _SHALLOW)
                elif name in _NAMING and text:
                    found = True
                    self.names.add((kind, text))
        if not found:
            self.surveys.add(function if module == "inventories" else kind)

    def command(self, argv: list[str]) -> None:
        """A command was run that only reads."""
        kind = _SAME_KIND.get(argv[0], argv[0])
        self.surveys.add(kind)
        for word in argv[1:]:
            if is_path(word):
                self.path(word, deep=True)
            elif word and not word.startswith("-"):
                self.names.add((kind, word))


def is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and "\n" not in value and len(value) < 4096


def below(path: str, top: str) -> bool:
    return path != top and path.startswith(top.rstrip("/") + "/")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, str))


def _absent(answer: Any, argument: str) -> bool:
    if not isinstance(answer, Mapping):
        return answer is None
    return (
        answer.get("stat", True) is None
        or answer.get("exists") is False
        or answer.get(argument, True) is None
    )


class WatchedNode:
    """A Node that notes what is asked of it, and is otherwise the one it wraps."""

    def __init__(self, node: Node, looks: Looks) -> None:
        self._node = node
        self._looks = looks

    @classmethod
    def over(cls, node: Node, looks: Looks) -> Node:
        return cast("Node", cls(node, looks))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def stat(self, path: str, *, follow: bool = False, checksum: bool = False) -> Stat | None:
        found = self._node.stat(path, follow=follow, checksum=checksum)
        self._looks.path(path, absent=found is None)
        return found

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        try:
            data = self._node.read(path, limit=limit)
        except NodeError as error:
            self._looks.path(path, absent=error.errno_name == "ENOENT")
            raise
        self._looks.path(path)
        return data

    def list(self, path: str) -> list[Stat]:
        try:
            found = self._node.list(path)
        except NodeError as error:
            self._looks.path(path, absent=error.errno_name == "ENOENT", deep=True)
            raise
        self._looks.path(path, deep=True)
        return found

    def call(self, module: str, function: str, /, **arguments: Any) -> Any:
        try:
            answer = self._node.call(module, function, **arguments)
        except NodeError as error:
            self._looks.call(module, function, arguments, {"exists": error.errno_name != "ENOENT"})
            raise
        self._looks.call(module, function, arguments, answer)
        return answer

    def run(self, argv: Any, **options: Any) -> Completed:
        self._looks.command([str(word) for word in argv])
        return self._node.run(argv, **options)
