"""Lookups of controller files, sought as tasks seek theirs: role, then playbook folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labctl.errors import Mark, VariableError
from labctl.variables.header import join_header
from labctl.yaml import Text

if TYPE_CHECKING:
    from labctl.variables.lookups.values import Lookup
    from labctl.variables.scope import Scope


def find(scope: Scope, name: str, folder: str) -> str | None:
    """The path of a controller file, or None."""
    name = os.path.expanduser(name)
    if os.path.isabs(name):
        return name if os.path.exists(name) else None
    places = [*scope.search_path(folder), os.getcwd()]
    return next((path for place in places if os.path.exists(path := os.path.join(place, name))), None)


def _found(scope: Scope, name: str, folder: str) -> str:
    path = find(scope, name, folder)
    if path is None:
        places = [name] if os.path.isabs(name) else [*scope.search_path(folder), os.getcwd()]
        raise VariableError(
            f"there is no file '{name}'", hint=f"looked in {', '.join(dict.fromkeys(places))}"
        )
    return path


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except UnicodeDecodeError:
        raise VariableError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise VariableError(f"{path}: {error.strerror}") from None


def file(scope: Scope, terms: list[Any], *, lstrip: bool = False, rstrip: bool = True) -> list[Any]:
    found = []
    for term in terms:
        text = _read(_found(scope, str(term), "files"))
        text = text.lstrip() if lstrip else text
        found.append(text.rstrip() if rstrip else text)
    return found


def fileglob(scope: Scope, terms: list[Any]) -> list[Any]:
    found: list[str] = []
    for term in map(str, terms):
        places = [""] if os.path.isabs(term) else scope.search_path("files")
        for place in places:
            matches = sorted(p for p in glob.glob(os.path.join(place, term)) if os.path.isfile(p))
            if matches:
                found += matches
                break
    return found


def first_found(
    scope: Scope, terms: list[Any], *, files: Any = (), paths: Any = (), skip: bool = False
) -> list[Any]:
    names, skip = _candidates(terms, files, paths, skip)
    for name in names:
        for folder in ("files", "templates", "vars"):
            if path := find(scope, name, folder):
                return [path]
    if skip:
        return []
    raise VariableError(
        f"none of these files exists: {', '.join(names)}", hint="skip=true gives nothing instead"
    )


def _candidates(terms: list[Any], files: Any, paths: Any, skip: bool) -> tuple[list[str], bool]:
    names: list[str] = []
    for term in terms or [{"files": files, "paths": paths}]:
        if isinstance(term, Mapping):
            skip = skip or bool(term.get("skip", False))
            inner = _strings(term.get("files", ()))
            folders = _strings(term.get("paths", ()))
            names += [os.path.join(place, name) for place in folders for name in inner] if folders else inner
        elif isinstance(term, list):
            more, skip = _candidates(term, (), (), skip)
            names += more
        else:
            names += [os.path.join(place, str(term)) for place in _strings(paths)] or [str(term)]
    return names, skip


def _strings(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(item) for item in value]


def template(
    scope: Scope, terms: list[Any], *, template_vars: Mapping[str, Any] | None = None, **options: Any
) -> list[Any]:
    found = []
    for term in terms:
        path = _found(scope, str(term), "templates")
        text = Text(join_header(_read(path), options), Mark(path, 1, 1))
        found.append(scope.over({"template_path": path, **(template_vars or {})}).template(text))
    return found


LOOKUPS: dict[str, Lookup] = {
    "file": file,
    "fileglob": fileglob,
    "first_found": first_found,
    "template": template,
}
