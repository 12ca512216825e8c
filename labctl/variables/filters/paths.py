"""Filters over file names and URLs. Files are the controller's."""

from __future__ import annotations

import glob
import ntpath
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from labctl.errors import VariableError, did_you_mean


def path_join(parts: Any) -> str:
    if not isinstance(parts, str | list | tuple):
        raise VariableError(f"path_join: needs a list of strings, not {type(parts).__name__}")
    return str(parts) if isinstance(parts, str) else os.path.join(*parts)


def relpath(path: str, start: str = os.curdir) -> str:
    return os.path.relpath(path, start)


def splitext(path: str) -> list[str]:
    return list(os.path.splitext(path))


def win_splitdrive(path: str) -> list[str]:
    return list(ntpath.splitdrive(path))


def fileglob(pattern: str) -> list[str]:
    return sorted(name for name in glob.glob(pattern) if os.path.isfile(name))


def split_url(url: str, query: str = "") -> Any:
    parts = urlsplit(url)
    names = ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")
    found = {name: getattr(parts, name) for name in names}
    if not query:
        return found
    if query not in found:
        raise VariableError(f"urlsplit: unknown URL component: {query}", hint=did_you_mean(query, names))
    return found[query]


FILTERS: dict[str, Callable[..., Any]] = {
    "basename": os.path.basename,
    "dirname": os.path.dirname,
    "expanduser": os.path.expanduser,
    "expandvars": os.path.expandvars,
    "realpath": os.path.realpath,
    "relpath": relpath,
    "path_join": path_join,
    "splitext": splitext,
    "normpath": os.path.normpath,
    "commonpath": os.path.commonpath,
    "win_basename": ntpath.basename,
    "win_dirname": ntpath.dirname,
    "win_splitdrive": win_splitdrive,
    "fileglob": fileglob,
    "urlsplit": split_url,
    "urldecode": unquote_plus,
}
