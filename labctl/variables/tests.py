"""The tests of templates (`is …`): task results, text, sets, versions, files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from labctl.errors import VariableError, did_you_mean
from labctl.variables.embedded import Decrypted
from labctl.variables.filters.text import compiled
from labctl.variables.plugin_tools import boolean
from labctl.variables.undefined import is_undefined
from labctl.variables.versions import VERSIONS
from labctl.yaml import VAULT_HEADER


def _result(value: Any, test: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise VariableError(f"'is {test}' asks a registered result, not {type(value).__name__}")
    return value


def failed(result: Any) -> bool:
    return bool(_result(result, "failed").get("failed", False))


def succeeded(result: Any) -> bool:
    return not failed(result)


def changed(result: Any) -> bool:
    values = _result(result, "changed")
    if "changed" in values:
        return bool(values["changed"])
    items = values.get("results")
    return isinstance(items, list) and any(changed(item) for item in items if isinstance(item, Mapping))


def skipped(result: Any) -> bool:
    return bool(_result(result, "skipped").get("skipped", False))


def unreachable(result: Any) -> bool:
    return bool(_result(result, "unreachable").get("unreachable", False))


def reachable(result: Any) -> bool:
    return not unreachable(result)


def timed_out(result: Any) -> bool:
    found = _result(result, "timedout").get("timedout")
    return isinstance(found, Mapping) and bool(found.get("period"))


def started(result: Any) -> bool:
    return bool(_result(result, "started").get("started", True))


def finished(result: Any) -> bool:
    return bool(_result(result, "finished").get("finished", True))


def regex(
    value: Any,
    pattern: str = "",
    ignorecase: bool = False,
    multiline: bool = False,
    match_type: str = "search",
) -> bool:
    expression = compiled(pattern, ignorecase, multiline)
    methods = {"search": expression.search, "match": expression.match, "fullmatch": expression.fullmatch}
    if match_type not in methods:
        raise VariableError(
            f"'is regex': unknown match_type '{match_type}'", hint="search, match or fullmatch"
        )
    return methods[match_type](str(value)) is not None


def match(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    return regex(value, pattern, ignorecase, multiline, "match")


def search(value: Any, pattern: str = "", ignorecase: bool = False, multiline: bool = False) -> bool:
    return regex(value, pattern, ignorecase, multiline, "search")


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("==", "=", "eq"), lambda a, b: bool(a == b)),
    **dict.fromkeys(("!=", "<>", "ne"), lambda a, b: bool(a != b)),
    **dict.fromkeys(("<", "lt"), lambda a, b: bool(a < b)),
    **dict.fromkeys(("<=", "le"), lambda a, b: bool(a <= b)),
    **dict.fromkeys((">", "gt"), lambda a, b: bool(a > b)),
    **dict.fromkeys((">=", "ge"), lambda a, b: bool(a >= b)),
}


def version(
    value: Any, other: Any, operator: str = "eq", strict: bool | None = None, version_type: str | None = None
) -> bool:
    if not value:
        raise VariableError("'is version': Input version value cannot be empty")
    if not other:
        raise VariableError("'is version': Version parameter to compare against cannot be empty")
    if strict is not None and version_type is not None:
        raise VariableError("'is version': Cannot specify both 'strict' and 'version_type'")
    if operator not in _OPERATORS:
        raise VariableError(f"'is version': unknown operator '{operator}'", hint=" ".join(_OPERATORS))
    kind = version_type or ("strict" if strict else "loose")
    if kind not in VERSIONS:
        hint = did_you_mean(kind, VERSIONS) or ", ".join(VERSIONS)
        raise VariableError(f"'is version': unknown version_type '{kind}'", hint=hint)
    key = VERSIONS[kind]
    try:
        return _OPERATORS[operator](key(str(value)), key(str(other)))
    except TypeError:
        raise VariableError(f"'is version': '{value}' and '{other}' cannot be compared") from None


def subset(value: Any, other: Any) -> bool:
    return all(item in other for item in value)


def superset(value: Any, other: Any) -> bool:
    return subset(other, value)


def contains(value: Any, item: Any) -> bool:
    return item in value


def truthy(value: Any, convert_bool: bool = False) -> bool:
    if convert_bool:
        try:
            return boolean(value)
        except TypeError:
            pass
    return bool(value)


def falsy(value: Any, convert_bool: bool = False) -> bool:
    return not truthy(value, convert_bool)


def nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def uri(value: Any, schemes: Any = None) -> bool:
    """As Ansible's: any text that can be taken apart, with one of `schemes` when some are given."""
    try:
        return isinstance(value, str) and (not schemes or urlsplit(value).scheme in schemes)
    except ValueError:
        return False


def url(value: Any, schemes: Any = None) -> bool:
    if not uri(value, schemes):
        return False
    parts = urlsplit(value)
    return bool(parts.netloc or parts.scheme == "file")


def urn(value: Any) -> bool:
    return uri(value, ["urn"])


def vault_encrypted(value: Any) -> bool:
    """Whether a variable was written as a `!vault` value."""
    return isinstance(value, Decrypted)


def vaulted_file(path: Any) -> bool:
    try:
        with open(str(path), "rb") as stream:
            return stream.read(len(VAULT_HEADER)) == VAULT_HEADER.encode()
    except OSError as error:
        raise VariableError(f"'is vaulted_file': {path}: {error.strerror}") from None


def defined(value: Any) -> bool:
    return not is_undefined(value)


TESTS: dict[str, Callable[..., Any]] = {
    "defined": defined,
    "undefined": is_undefined,
    **dict.fromkeys(("failed", "failure"), failed),
    **dict.fromkeys(("succeeded", "success", "successful"), succeeded),
    **dict.fromkeys(("changed", "change"), changed),
    **dict.fromkeys(("skipped", "skip"), skipped),
    "unreachable": unreachable,
    "reachable": reachable,
    "timedout": timed_out,
    "started": started,
    "finished": finished,
    "regex": regex,
    "match": match,
    "search": search,
    **dict.fromkeys(("version", "version_compare"), version),
    **dict.fromkeys(("subset", "issubset"), subset),
    **dict.fromkeys(("superset", "issuperset"), superset),
    "contains": contains,
    "any": any,
    "all": all,
    "truthy": truthy,
    "falsy": falsy,
    **dict.fromkeys(("nan", "isnan"), nan),
    "url": url,
    "urn": urn,
    "uri": uri,
    "vault_encrypted": vault_encrypted,
    "vaulted_file": vaulted_file,
    **dict.fromkeys(("file", "is_file"), os.path.isfile),
    **dict.fromkeys(("directory", "is_dir"), os.path.isdir),
    **dict.fromkeys(("link", "is_link"), os.path.islink),
    "link_exists": os.path.lexists,
    "exists": os.path.exists,
    **dict.fromkeys(("abs", "is_abs"), os.path.isabs),
    **dict.fromkeys(("mount", "is_mount"), os.path.ismount),
    **dict.fromkeys(("same_file", "is_same_file"), os.path.samefile),
}
