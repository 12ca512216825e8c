"""An image recipe: a Debian base, Python packages, files; what an image is built from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl import yaml
from labctl.errors import Mark, PlaybookError, did_you_mean
from labctl.records import dataclass

_FIELDS = ("name", "suite", "variant", "packages", "pip", "files", "env", "cmd")


@dataclass(frozen=True, slots=True)
class Recipe:
    """`files` maps a path in the image to the controller file that goes there; `packages` are Debian's,
    `pip` requirement specifiers."""

    name: str
    suite: str
    variant: str
    packages: tuple[str, ...]
    pip: tuple[str, ...]
    files: Mapping[str, Path]
    env: Mapping[str, str]
    cmd: tuple[str, ...]

    def base_key(self) -> str:
        return _key("base 1", self.suite, self.variant, *sorted(self.packages))

    def pip_key(self) -> str:
        return _key("pip 1", self.base_key(), *sorted(self.pip))

    def key(self) -> str:
        """Hash of all the image depends on, the files' content included."""
        contents = [
            f"{target}\0{_mode(source):o}\0{hashlib.sha256(source.read_bytes()).hexdigest()}"
            for target, source in sorted(self.files.items())
        ]
        environment = [f"{name}={value}" for name, value in sorted(self.env.items())]
        return _key("image 1", self.name, self.pip_key(), *contents, *environment, *self.cmd)


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. PlaybookError with the position of whatever is wrong in it."""
    document = yaml.load_file(str(path))
    if not isinstance(document, yaml.Mapping):
        raise PlaybookError("an image recipe is a mapping", mark=Mark(str(path), 1, 1))
    for key in document:
        if key not in _FIELDS:
            raise PlaybookError(
                f"an image recipe has no field '{key}'",
                mark=document.key_mark(key),
                hint=did_you_mean(str(key), _FIELDS) or f"its fields: {', '.join(_FIELDS)}",
            )
    for key in ("name", "suite"):
        if not isinstance(document.get(key), str):
            raise PlaybookError(f"an image recipe needs a '{key}', a string", mark=document.value_mark(key))
    name = str(document["name"])
    return Recipe(
        name=name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest",
        suite=str(document["suite"]),
        variant=str(document.get("variant") or "minbase"),
        packages=_strings(document, "packages"),
        pip=_strings(document, "pip"),
        files=_files(document, path.parent),
        env={str(k): str(v) for k, v in _mapping(document, "env").items()},
        cmd=_strings(document, "cmd"),
    )


def _strings(document: yaml.Mapping, key: str) -> tuple[str, ...]:
    value = document.get(key) or []
    if not isinstance(value, list) or any(isinstance(item, list | dict) for item in value):
        raise PlaybookError(f"'{key}' of an image recipe is a list of strings", mark=document.value_mark(key))
    return tuple(str(item) for item in value)


def _mapping(document: yaml.Mapping, key: str) -> Mapping[Any, Any]:
    value = document.get(key) or {}
    if not isinstance(value, Mapping):
        raise PlaybookError(f"'{key}' of an image recipe is a mapping", mark=document.value_mark(key))
    return value


def _files(document: yaml.Mapping, folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    value = _mapping(document, "files")
    for source, target in value.items():
        path = folder / str(source)
        mark = value.key_mark(source) if isinstance(value, yaml.Mapping) else None
        if not path.is_file():
            raise PlaybookError(f"there is no file {path}", mark=mark)
        if not isinstance(target, str) or not target.startswith("/"):
            raise PlaybookError(f"'{target}' must be an absolute path in the image", mark=mark)
        found[target] = path
    return found
