"""Lookups of controller files, sought as tasks seek theirs: role, then playbook folder."""

from __future__ import annotations

import glob
import os
import pwd
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labctl import vault
from labctl.errors import Mark, VariableError
from labctl.variables.environment import refuse_undefined
from labctl.variables.header import join_header
from labctl.variables.undefined import is_undefined
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


def found(scope: Scope, name: str, folder: str) -> str:
    """The path of a controller file. VariableError when there is none."""
    path = find(scope, name, folder)
    if path is None:
        places = [name] if os.path.isabs(name) else [*scope.search_path(folder), os.getcwd()]
        raise VariableError(
            f"there is no file '{name}'", hint=f"looked in {', '.join(dict.fromkeys(places))}"
        )
    return path


def read(path: str, encoding: str = "utf-8") -> str:
    """A file's text, decrypted when it is a vault."""
    try:
        return vault.read(Path(path)).decode(encoding).replace("\r\n", "\n")
    except (UnicodeDecodeError, LookupError):
        raise VariableError(f"{path} is not {encoding.upper()} text") from None
    except OSError as error:
        raise VariableError(f"{path}: {error.strerror}") from None


def file(scope: Scope, terms: list[Any], *, lstrip: bool = False, rstrip: bool = True) -> list[Any]:
    texts = []
    for term in terms:
        text = read(found(scope, str(term), "files"))
        text = text.lstrip() if lstrip else text
        texts.append(text.rstrip() if rstrip else text)
    return texts


def unvault(scope: Scope, terms: list[Any]) -> list[Any]:
    """The clear text of files, encrypted or not, to the last newline."""
    return [read(found(scope, str(term), "files")) for term in terms]


def fileglob(scope: Scope, terms: list[Any]) -> list[Any]:
    paths: list[str] = []
    for term in map(str, terms):
        places = [""] if os.path.isabs(term) else scope.search_path("files")
        for place in places:
            matches = sorted(p for p in glob.glob(os.path.join(place, term)) if os.path.isfile(p))
            if matches:
                paths += matches
                break
        else:
            if not any(glob.glob(os.path.dirname(os.path.join(place, term)) or ".") for place in places):
                looked = f" (looked in {', '.join(dict.fromkeys(places))})" if any(places) else ""
                folder = os.path.dirname(term)
                scope.templar.warn(f"fileglob '{term}' gives nothing: there is no folder '{folder}'{looked}")
    return paths


def first_found(
    scope: Scope,
    terms: list[Any],
    *,
    files: Any = (),
    paths: Any = (),
    skip: Any = False,
    folders: tuple[str, ...] | None = None,
) -> list[Any]:
    """`folders`: below which to look, in `with_first_found`, which passes over undefined names too."""
    if folders is not None:
        terms = _defined(terms)
    names, passing = _candidates(terms, files, paths, bool(skip))
    for name in names:
        for folder in folders or ("",):
            if path := find(scope, name, folder):
                return [os.path.normpath(path)]
    if passing:
        return []
    raise VariableError(
        f"none of these files exists: {', '.join(names)}", hint="skip=true gives nothing instead"
    )


def _candidates(terms: list[Any], files: Any, paths: Any, skip: bool) -> tuple[list[str], bool]:
    names: list[str] = []
    for term in terms or [{"files": files, "paths": paths}]:
        if isinstance(term, Mapping):
            skip = bool(term.get("skip", skip))
            names += _joined(_strings(term.get("files", ()), ",;"), term.get("paths", ()))
        elif isinstance(term, list | tuple):
            more, skip = _candidates(list(term), files, paths, skip) if term else ([], skip)
            names += more
        elif isinstance(term, str):
            names += _joined(_strings(term, ",;"), paths)
        else:
            refuse_undefined(term)
            raise VariableError(f"a term is a file name, a list or a dict, not {type(term).__name__}")
    return names, skip


def _defined(value: Any) -> Any:
    if isinstance(value, list):
        return [_defined(item) for item in value if not is_undefined(item)]
    if isinstance(value, Mapping):
        return {key: _defined(item) for key, item in value.items() if not is_undefined(item)}
    return value


def _joined(names: list[str], paths: Any) -> list[str]:
    places = _strings(paths, ",:;")
    return [os.path.join(place, name) for place in places for name in names] if places else names


def _strings(value: Any, marks: str) -> list[str]:
    """The names in a list or a text, whose parts one of `marks` separates."""
    parts = [value] if isinstance(value, str) else [str(item) for item in value]
    return [name.strip() for part in parts for name in re.split(f"[{marks}]", part) if name.strip()]


# Options of the lookup that are those of a template file's first line.
_OPTIONS = (
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "trim_blocks",
)


def template(
    scope: Scope, terms: list[Any], *, template_vars: Mapping[str, Any] | None = None, **options: Any
) -> list[Any]:
    values = []
    chosen = {name: value for name, value in options.items() if name in _OPTIONS}
    for term in terms:
        path = found(scope, str(term), "templates")
        text = Text(join_header(read(path), chosen), Mark(path, 1, 1))
        inner = scope.over({**_about(scope, path, str(term)), **(template_vars or {})})
        values.append(inner.template_value(text))
    return values


def _about(scope: Scope, path: str, name: str) -> dict[str, Any]:
    """The variables that every template file has."""
    info = os.stat(path)
    managed = {} if "ansible_managed" in scope else {"ansible_managed": "Ansible managed"}
    return {
        "template_host": os.uname().nodename,
        "template_path": name,
        "template_fullpath": os.path.abspath(path),
        "template_mtime": datetime.fromtimestamp(info.st_mtime),
        "template_run_date": datetime.now(),
        "template_uid": _owner(info.st_uid),
        "template_destpath": None,
        **managed,
    }


def _owner(uid: int) -> str | int:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return uid


LOOKUPS: dict[str, Lookup] = {
    "file": file,
    "fileglob": fileglob,
    "first_found": first_found,
    "template": template,
    "unvault": unvault,
}
